-- Asks the mod_limits of the installed Prosody what it makes of `limits`.
--
-- Usage: lua5.4 oracle.lua mod_limits.lua < CASES
-- Each case is a line of Lua that may set `limits`. For each there is a line with what a client's session gets, in bytes a
-- second and seconds of burst, as "RATE BURST", or "fails" if the module does not load.

local rate, burst;
package.preload["util.filters"] = function ()
	return { add_filter_hook = function (hook)
		hook({ type = "c2s_unauthed", conn = { setlimit = function (_, n) rate = n; end } });
		hook({ type = "c2s_unauthed" });
	end; add_filter = function () end };
end
package.preload["util.throttle"] = function ()
	return { create = function (_, period) burst = period; end };
end
package.preload["util.timer"] = function () return {}; end

for case in io.lines() do
	local config = {};
	assert(load(case, "case", "t", config))();
	local module = {};
	function module:set_global() end
	function module:log() end
	function module:get_option(name, default)
		if config[name] == nil then return default; end
		return config[name];
	end
	function module:get_option_number(_, default) return default; end
	rate, burst = nil, nil;
	local ok = pcall(function ()
		assert(loadfile(arg[1], "t", setmetatable({ module = module }, { __index = _G })))();
		module.load();
	end);
	print(ok and ("%.0f %g"):format(rate, burst) or "fails");
end
