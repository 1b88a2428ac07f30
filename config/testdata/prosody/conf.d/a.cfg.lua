-- Global again: each file begins there.
from_a = { "x", "y" }
VirtualHost "a.conf.d.example"
	admins = { "admin@a.conf.d.example" }
