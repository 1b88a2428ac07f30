-- One Prosody, one virtual host for each way in which gatehouse says who it is.
log = { { levels = { min = "info" }, to = "console" } }
plugin_paths = { "/srv/prosody-modules" }
data_path = "/var/lib/prosody"
certificates = "/srv/certs"
c2s_require_encryption = true
network_backend = "epoll"

modules_enabled = {
	"roster", "saslauth", "tls", "disco", "ping", "offline", "carbons", "mam", "csi", "smacks", "blocklist", "vcard4", "vcard_legacy", "pep",
	"version",
}
modules_disabled = { "s2s", "http" }

gatehouse_auth_url = "http://127.0.0.1:5280/auth"
gatehouse_auth_api_user = "servers"
gatehouse_auth_api_password = "open the back door"

VirtualHost "ticket.prosody.test"
	authentication = "gatehouse"

VirtualHost "password.prosody.test"
	authentication = "internal_hashed"

VirtualHost "external.prosody.test"
	authentication = "ccert"
	certificate_match = "xmppaddr"
	c2s_ssl = {
		certificate = "/srv/certs/external.prosody.test.crt";
		key = "/srv/certs/external.prosody.test.key";
		cafile = "/srv/certs/users.crt";
		verify = { "peer" };
	}

VirtualHost "both.test"
	authentication = "gatehouse"
