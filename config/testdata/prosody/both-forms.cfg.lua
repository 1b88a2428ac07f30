admins = { }
c2s_ports = { 5222, 5223 };
pidfile = "/run/prosody/prosody.pid"
ssl = {
	key = "certs/localhost.key";
	certificate = "certs/localhost.crt";
	options = { "no_sslv2", "no_sslv3" },
	[5223] = { protocol = "tlsv1_2+" };
}
VirtualHost "Example.COM"
	authentication = "external"
	external_auth_protocol = "generic"
	external_auth_command = "/usr/local/bin/auth.py"
	external_auth_timeout = 2.5
VirtualHost "example.net" {
	enabled = false;
	authentication = "internal_hashed";
	modules_enabled = { "mam", "csi" };
}
after_table = "global again"
Component "conference.example.com" "muc"
	restrict_room_creation = true
Component "gw.example.com"
	component_secret = "s3cret"
Component "proxy.example.com" "proxy65" {
	proxy65_acl = { "example.com" };
}
Host "old.example.com"
	x = -1
component "oldc.example.com" "muc"
