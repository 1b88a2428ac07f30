-- Asks gatehouse who may come in: an authentication provider for Prosody 0.12 and 13.0.
--
-- Every question is a request to gatehouse's HTTP auth API and has three outcomes: yes, no, and "cannot say". Here
-- these are true, false, and nil with a reason. At a login "cannot say" is temporary-auth-failure, so that an outage
-- never looks like a wrong password. No password and no token gets into a log. See README.md for the options.
--
-- luacheck: read globals module

local async = require "util.async";
local base64 = require "util.encodings".base64.encode;
local cache = require "util.cache";
local formencode = require "util.http".formencode;
local http = require "net.http";
local jid_prep = require "util.jid".prep;
local new_sasl = require "util.sasl".new;
local nodeprep = require "util.encodings".stringprep.nodeprep;
local parse_url = require "socket.url".parse;
local saslprep = require "util.encodings".stringprep.saslprep;
local timers = require "util.timer";

local host = module.host;

local api_url = module:get_option_string("gatehouse_auth_url", "http://127.0.0.1:5280/auth"):gsub("/+$", "");
local api_user = module:get_option_string("gatehouse_auth_api_user");
local api_password = module:get_option_string("gatehouse_auth_api_password");
local timeout = module:get_option_number("gatehouse_auth_timeout", 5);
local with_tokens = module:get_option_boolean("gatehouse_auth_token", false);
local allow_unencrypted = module:get_option_boolean("gatehouse_auth_allow_unencrypted", false);
-- As in mod_saslauth: what is not held back from an unencrypted stream for PLAIN isn't for a token, which is as secret.
local allow_unencrypted_login = module:get_option_boolean("allow_unencrypted_plain_auth", false);

local NOT_AUTHORIZED = "Unable to authorize you with the authentication credentials you've sent.";
local CANNOT_SAY = "Nobody can check this at the moment. Please try again later.";

-- A module that raises an error while it is loaded leaves its host without logins. That is what has to happen when the
-- options make no sense.
local function check_options()
	local url = parse_url(api_url);
	if not (url and url.host and (url.scheme == "http" or url.scheme == "https")) then
		error("gatehouse_auth_url: not a http or https address", 0);
	elseif url.userinfo then
		error("gatehouse_auth_url: the name and password belong in gatehouse_auth_api_user and _password", 0);
	elseif url.query or url.fragment then
		error("gatehouse_auth_url: takes neither ? nor #", 0);
	end
	local here = url.host == "localhost" or url.host == "::1" or url.host:match("^127%.%d+%.%d+%.%d+$");
	if url.scheme == "http" and not here and not allow_unencrypted then
		error("gatehouse_auth_url: passwords would go to another machine unencrypted; "
			.. "use https, or set gatehouse_auth_allow_unencrypted = true", 0);
	end
	if (api_user == nil) ~= (api_password == nil) then
		error("gatehouse_auth_api_user and gatehouse_auth_api_password: set both or none", 0);
	elseif api_user and api_user:find(":", 1, true) then
		error("gatehouse_auth_api_user: a colon cannot be part of it", 0);
	end
	if not (timeout > 0 and timeout <= 3600) then
		error("gatehouse_auth_timeout: has to be more than 0 and at most 3600 seconds", 0);
	end
end
check_options();

local authorization = api_user and "Basic " .. base64(api_user .. ":" .. api_password);

-- Names the cause of an answer that is none. body is the sentence that gatehouse gives or, where there was no answer
-- (code 0), the reason of net.http; neither holds what was asked.
local function describe(code, body)
	body = type(body) == "string" and body:sub(1, 200):gsub("%s+$", "") or "";
	if code == 0 then
		return "no answer: " .. body;
	elseif code == 200 then
		return "neither true nor false as the answer";
	elseif code == 401 then
		return "gatehouse does not accept gatehouse_auth_api_user and gatehouse_auth_api_password";
	end
	return ("HTTP status %d: %s"):format(code, body);
end

-- Sends one request and returns gatehouse's answer, or nil and the reason. Others go on while it waits.
local function ask(method, operation, username, password)
	if not async.ready() then
		-- A timer, or prosodyctl, which has no network loop. To block the server for it is no choice.
		return nil, "asked outside of an asynchronous context";
	end
	local wait, done = async.waiter();
	local finished, answer, reason = false, nil, nil;
	local function finish(result, why)
		if finished then return; end
		finished, answer, reason = true, result, why;
		done();
	end

	local fields = { { name = "user", value = username }, { name = "server", value = host } };
	if password then
		table.insert(fields, { name = "pass", value = password });
	end
	local query, url = formencode(fields), api_url .. "/" .. operation;
	local options = {
		method = method;
		headers = { Authorization = authorization };
		suppress_url = true; -- or the debug log would have the password
	};
	if method == "POST" then
		options.body = query;
	else
		url = url .. "?" .. query;
	end

	local request = http.request(url, options, function (body, code)
		if code == 200 and (body == "true" or body == "false") then
			finish(body == "true");
		else
			finish(nil, describe(code, body));
		end
	end);
	local timer = not finished and timers.add_task(timeout, function ()
		if finished then return; end
		http.destroy_request(request);
		finish(nil, ("no answer in %g seconds"):format(timeout));
	end);
	wait();
	if timer then timers.stop(timer); end
	return answer, reason;
end

-- Is ask, and says in the log when it stays without an answer.
local function query(...)
	local answer, reason = ask(...);
	if answer == nil then
		local _, operation, username = ...;
		module:log("warn", "gatehouse cannot say (%s for %s): %s", operation, username, reason);
	end
	return answer, reason;
end

-- Is query for what changes an account: everything but a yes is nil and a text, as Prosody wants it.
local function change(...)
	local answer, reason = query(...);
	if answer == false then
		return nil, "gatehouse refused it";
	end
	return answer, reason;
end

-- Users that were there when last asked about. Prosody knows no third answer to "does this user exist?", and a no
-- while gatehouse is away would bounce messages to people who are merely offline.
local known = cache.new(4096);

local provider = {};

-- Asks about a password, a token or a ticket, prepared. Only true is a yes.
local function check(username, secret)
	local answer, reason = query("GET", "check_password", username, secret);
	if answer then
		known:set(username, true);
	end
	return answer, reason;
end

function provider.test_password(username, password)
	password = saslprep(password);
	if not password or password == "" then
		return false, "Password fails SASLprep.";
	end
	return check(username, password);
end

function provider.user_exists(username)
	local answer, reason = query("GET", "user_exists", username);
	if answer == nil then
		return known:get(username), reason;
	end
	known:set(username, answer or nil);
	return answer;
end

-- As at a login, where nobody could use a password that isn't prepared so.
local function change_password(operation, username, password)
	password = saslprep(password);
	if not password or password == "" then
		return nil, "Password fails SASLprep.";
	end
	return change("POST", operation, username, password);
end

function provider.set_password(username, password)
	return change_password("set_password", username, password);
end

function provider.create_user(username, password)
	return change_password("register", username, password);
end

function provider.delete_user(username)
	known:set(username, nil);
	return change("POST", "remove_user", username);
end

-- Splits a message of PLAIN (RFC 4616, section 2), which X-TOKEN shares, and returns the name and the secret,
-- prepared, and whom the client wants to act for. util.sasl.plain would ignore what follows a third NUL and whom the
-- client wants to act for, and it could not say that nobody knows.
local function credentials(message)
	local authzid, username, secret = (message or ""):match("^([^%z]*)%z([^%z]+)%z([^%z]+)$");
	username, secret = username and saslprep(username), secret and saslprep(secret);
	username = username and nodeprep(username);
	if username and username ~= "" and secret and secret ~= "" then
		return username, secret, authzid;
	end
end

-- Is the process method of a SASL handler: takes a message of PLAIN or X-TOKEN and returns what the client gets for it.
local function process(self, message)
	local username, secret, authzid = credentials(message);
	if not username then
		return "failure", "malformed-request", "Invalid username or password.";
	end
	if authzid ~= "" then
		local wanted = jid_prep(authzid:find("@", 1, true) and authzid or authzid .. "@" .. host);
		if wanted ~= username .. "@" .. host then
			return "failure", "invalid-authzid";
		end
	end
	self.username = username;
	local answer = check(username, secret);
	if answer == nil then
		return "failure", "temporary-auth-failure", CANNOT_SAY;
	elseif answer ~= true then
		return "failure", "not-authorized", NOT_AUTHORIZED;
	end
	return "success";
end

function provider.get_sasl_handler(session)
	local mechanisms = { PLAIN = true };
	if with_tokens and session and (session.secure or allow_unencrypted_login) then
		mechanisms["X-TOKEN"] = true;
	end
	local handler = new_sasl(host, { mechanisms = mechanisms });
	handler.process = process;
	handler.clean_clone = function () return provider.get_sasl_handler(session); end;
	return handler;
end

module:provides("auth", provider);
