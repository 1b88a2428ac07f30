-- In the style of container images: everything from the environment.
local function split(s, sep)
	local out = {}
	for part in (s .. sep):gmatch("(.-)" .. sep) do
		if part ~= "" then table.insert(out, part) end
	end
	return out
end
local domain = os.getenv("DOMAIN_NOT_SET") or "localhost"
local function flag(name, default)
	local v = os.getenv(name)
	if v == nil or v == "" then return default end
	return v:lower() == "true"
end
admins = split(os.getenv("ADMINS_NOT_SET") or "a@x, b@y", ", ")
allow_registration = flag("ALLOW_NOT_SET", false)
c2s_require_encryption = not flag("NO_ENC_NOT_SET", false)
log = {
	{ levels = { min = os.getenv("LEVEL_NOT_SET") or "info" }, to = "console" };
}
VirtualHost (domain)
	modules_enabled = { "a", table.unpack(split("b c", " ")) }
	ssl = { certificate = "certs/" .. domain .. "/fullchain.pem", key = "certs/" .. domain .. "/privkey.pem" }
