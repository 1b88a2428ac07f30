-- Calls Prosody's user manager for a test and tells what it returned: an iq of type set to the host with
-- <query xmlns='urn:gatehouse:probe' op='…' user='…' password='…' timer='…'/>; with timer, outside of a coroutine.
--
-- luacheck: read globals module

local st = require "util.stanza";
local usermanager = require "core.usermanager";

local operations = {
	test_password = function (user, password) return usermanager.test_password(user, module.host, password); end;
	user_exists = function (user) return usermanager.user_exists(user, module.host); end;
	set_password = function (user, password) return usermanager.set_password(user, password, module.host); end;
	create_user = function (user, password) return usermanager.create_user(user, password, module.host); end;
	delete_user = function (user) return usermanager.delete_user(user, module.host); end;
};

module:hook("iq-set/host/urn:gatehouse:probe:query", function (event)
	local attr = event.stanza.tags[1].attr;
	local function reply()
		local ok, reason = operations[attr.op](attr.user, attr.password);
		event.origin.send(st.reply(event.stanza)
			:tag("query", { xmlns = "urn:gatehouse:probe", result = tostring(ok), reason = tostring(reason) }));
	end
	if attr.timer then
		module:add_timer(0, reply);
	else
		reply();
	end
	return true;
end);
