-- Hosts with options of mod_auth_gatehouse that make no sense. None of them may let anybody in.
Include "prosody.cfg.lua"

VirtualHost "elsewhere.localhost"
gatehouse_auth_url = "http://192.0.2.1:5280/auth"

VirtualHost "userinfo.localhost"
gatehouse_auth_url = "http://prosody:in-the-url@127.0.0.1:5280/auth"

VirtualHost "scheme.localhost"
gatehouse_auth_url = "ldap://127.0.0.1/"

VirtualHost "colon.localhost"
gatehouse_auth_api_user = "pro:sody"

VirtualHost "timeless.localhost"
gatehouse_auth_timeout = 0
