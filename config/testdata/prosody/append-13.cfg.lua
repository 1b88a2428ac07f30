modules_enabled = { "roster", "tls" }
modules_enabled { "mam" }
modules_enabled:append { "csi", "smacks" }
limits = { c2s = { rate = "10kb/s" } }
limits { s2s = { rate = "30kb/s" } }
port = 5222
ports = { port, port + 1 }
secret_file = FileLine "conf.d/a.cfg.lua"
lines = FileLines "conf.d/b.cfg.lua"
home = Lua.os.getenv("NOT_SET_ANYWHERE_HERE") or "none"
upper = Lua.string.upper("abc")
VirtualHost "h.example"
	modules_enabled = { "own" }
	modules_enabled { "more" }
