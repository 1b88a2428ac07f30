local base = "example"
local hosts = { "a", "b", "c" }
for i, h in ipairs(hosts) do
	VirtualHost (h .. "." .. base)
		number = i
		label = ("%s-%03d"):format(h:upper(), i)
		half = i / 2
end
local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end
VirtualHost "strings.example"
	trimmed = trim("  a b  ")
	list = (function() local t = {} for w in ("a, b,c"):gmatch("[^,%s]+") do t[#t + 1] = w end return t end)()
	joined = table.concat(hosts, "+")
	escaped = "tab\tquote\" \065\x42\u{43}"
	long = [[
first
second]]
	lvl = [==[ ]] ]==]
	found = select(2, ("key = value"):find("=%s*"))
	replaced = ("$user@$host"):gsub("%$(%w+)", { user = "u", host = "h" })
	hex = 0x1F
	exp = 1e3
	frac = 0.1 + 0.2
	neg = -5 % 3
	big = 2^40
	yes, no = true, false
	env = ENV_NOT_SET_ANYWHERE_HERE or "unset"
	env2 = os.getenv("NOT_SET_ANYWHERE_HERE") == nil
	sorted = (function() local t = { 3, 1, 2 } table.sort(t) return t end)()
	mixed = { 1, 2, x = "y", [10] = "ten" }
	fn = function() end
	nested = { { { "deep" } }, {} }
	cond = (1 < 2 and "yes") or "no"
	count = #hosts
	unset = 1
	unset = nil
