-- gatehouse before both servers, one virtual host for each way in which it says who somebody is.
c2s_ports = { 5222 }
gatehouse_websocket_ports = { 5281 }
gatehouse_websocket_origins = "*"
interfaces = { "*" }
certificates = "/srv/certs"
gatehouse_shutdown_timeout = 1

authentication = "external"
external_auth_command = "/srv/gatehouse/auth.sh"
external_auth_processes = 2
external_auth_timeout = 2

gatehouse_admin = "/run/gatehouse/admin.sock"
gatehouse_auth_api_user = "servers"
gatehouse_auth_api_password = "open the back door"
gatehouse_extauth_socket = "/run/gatehouse/extauth.sock"
gatehouse_upstream_trust = "/srv/certs/ca.crt"
gatehouse_upstream_timeout = 3
gatehouse_upstream_ca = { certificate = "/srv/certs/users.crt", key = "/srv/keys/users.key" }
-- The tests, whose connections come out of Docker's networks.
gatehouse_proxy_protocol_from = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16" }
gatehouse_guard_allow = { "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16" } -- they fail on purpose

-- Users of the script, and those whom a web application logs in by tokens.
VirtualHost "ticket.prosody.test"
	gatehouse_upstream = "prosody:5222"
	token_secret = "NURXDZHZPAEVTB5GCSHNK5LVC4B6U3BQ"
	otp_seed = "4BFGLDHKLRDVZJYSLRJSGNZSV3YTJXRZ"
	gatehouse_token_in_plain = true

VirtualHost "password.prosody.test"
	gatehouse_upstream = "prosody:5222"
	gatehouse_upstream_auth = "password"

VirtualHost "ticket.ejabberd.test"
	gatehouse_upstream = "ejabberd:5222"

VirtualHost "password.ejabberd.test"
	gatehouse_upstream = "ejabberd:5222"
	gatehouse_upstream_auth = "password"

VirtualHost "external.prosody.test"
	gatehouse_upstream = "prosody:5222"
	gatehouse_upstream_auth = "external"

VirtualHost "external.ejabberd.test"
	gatehouse_upstream = "ejabberd:5223"
	gatehouse_upstream_auth = "external"

VirtualHost "proxied.ejabberd.test"
	gatehouse_upstream = "ejabberd:5224"
	gatehouse_upstream_proxy_protocol = 2

-- Both serve it, and know nothing of each other.
VirtualHost "both.test"
	gatehouse_upstream = { "prosody:5222", "ejabberd:5222" }
