-- A Prosody behind gatehouse. What differs from run to run comes from the environment.
run_as_root = true
data_path = ENV_TEST_DATA
plugin_paths = { ENV_TEST_MODULES }
log = { debug = "*console" }
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ENV_TEST_PORT }
c2s_direct_tls_ports = { ENV_TEST_DIRECT_PORT }
ssl = { certificate = ENV_TEST_CERTIFICATE, key = ENV_TEST_KEY }
-- The way from gatehouse is on this machine.
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "version", "time", "carbons", "smacks", "presence", "message", "iq" }
modules_disabled = { "s2s" }
limits = {}

authentication = ENV_TEST_AUTH
gatehouse_auth_url = ENV_TEST_API
gatehouse_auth_api_user = "prosody"
gatehouse_auth_api_password = ENV_TEST_API_PASSWORD

VirtualHost "localhost"

VirtualHost "certificates.localhost"
authentication = "ccert"
c2s_require_encryption = true
c2s_ssl = {
	certificate = ENV_TEST_CERTIFICATE;
	key = ENV_TEST_KEY;
	cafile = ENV_TEST_USERS_CA;
	capath = false;
	verify = { "peer", "client_once" };
	verifyext = { lsec_ignore_purpose = false };
}
