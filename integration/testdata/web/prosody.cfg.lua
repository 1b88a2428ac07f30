-- A Prosody that asks gatehouse, and that web pages reach over its own WebSocket or through the gatehouse in front. What
-- differs from run to run comes from the environment, but for HTTPS_PORT, which the test replaces.
run_as_root = true
data_path = ENV_TEST_DATA
plugin_paths = { ENV_TEST_MODULES }
log = { debug = "*console" }
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ENV_TEST_PORT }
http_ports = {}
https_interfaces = { "127.0.0.1" }
https_ports = { HTTPS_PORT }
certificates = ENV_TEST_DATA
ssl = { certificate = ENV_TEST_CERTIFICATE, key = ENV_TEST_KEY }
https_certificate = ENV_TEST_CERTIFICATE
https_key = ENV_TEST_KEY
http_default_host = "localhost"
http_host = "localhost"
cross_domain_websocket = true
-- The way from gatehouse is on this machine.
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
modules_enabled = {
	"roster", "saslauth", "tls", "disco", "presence", "message", "iq", "ping", "version", "carbons", "smacks", "pep",
	"vcard_legacy",
	"blocklist", -- without it Converse.js 14 shows no chat with somebody who is no contact
	"offline", "websocket",
}
modules_disabled = { "s2s" }

authentication = "gatehouse"
gatehouse_auth_url = ENV_TEST_API
gatehouse_auth_api_user = "prosody"
gatehouse_auth_api_password = "a:pi% +ä"
gatehouse_auth_token = true

VirtualHost "localhost"
