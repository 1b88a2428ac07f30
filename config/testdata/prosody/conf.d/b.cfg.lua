VirtualHost "b.conf.d.example"
	authentication = "internal_plain"
	late = from_before
