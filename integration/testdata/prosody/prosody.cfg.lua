-- A Prosody for the tests of mod_auth_gatehouse. What differs from run to run comes from the environment.
run_as_root = true
data_path = ENV_TEST_DATA
plugin_paths = { ENV_TEST_MODULES, ENV_TEST_PROBE }
log = { debug = "*console" }
c2s_interfaces = { "127.0.0.1" }
c2s_ports = { ENV_TEST_PORT }
certificates = ENV_TEST_DATA
ssl = { certificate = ENV_TEST_CERTIFICATE, key = ENV_TEST_KEY }
modules_enabled = {
	"roster", "saslauth", "tls", "disco", "ping", "version", "time", "register", "offline", "gatehouse_probe",
}
modules_disabled = { "s2s" }

authentication = "gatehouse"
gatehouse_auth_url = ENV_TEST_API
gatehouse_auth_api_user = "prosody"
gatehouse_auth_api_password = "a:pi% +ä"
gatehouse_auth_timeout = 4

VirtualHost "localhost"

VirtualHost "tokens.localhost"
gatehouse_auth_token = true

VirtualHost "open.localhost"
gatehouse_auth_token = true
c2s_require_encryption = false
