-- The Prosody of prosody_test.go. What differs from run to run comes from the environment.
run_as_root = true
data_path = ENV_TEST_DATA
log = { debug = "*console" }
interfaces = { "127.0.0.1" }
c2s_ports = { ENV_TEST_PORT }
c2s_direct_tls_ports = { ENV_TEST_DIRECT_PORT }
certificates = ENV_TEST_DATA
ssl = { certificate = ENV_TEST_DATA .. "/example.org.crt", key = ENV_TEST_DATA .. "/example.org.key" }
c2s_ssl = { cafile = ENV_TEST_DATA .. "/ca.pem", verify = { "peer" } }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
modules_enabled = { "saslauth", "tls" }
modules_disabled = { "s2s", "s2s_auth_certs" }

VirtualHost "example.org"
authentication = "internal_plain"

VirtualHost "cert.example.org"
authentication = "ccert"
