-- Looks after the memory, and uses a token if one is named.
-- KEYS: the memory; the token (or none).
-- ARGV: the front's clock; by how much clocks may differ; 1 if a restart forgets nothing; when the token was good first;
--       when it may be forgotten; a number of this attempt's own. All times are Unix milliseconds.
-- Returns a word, since when the Redis has forgotten nothing, and why it had then; the Redis's clock with "clocks".
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
if not run or not evicted then
	return { 'mute', 0, '' }
end

local before = redis.call('HMGET', KEYS[1], 'run', 'evicted', 'seen', 'since', 'why')
local seen, since, why = tonumber(before[3]), tonumber(before[4]), before[5]
local forgot
if not seen or not since or not why then
	forgot = 'is new or was emptied'
elseif before[1] ~= run then
	if ARGV[3] ~= '1' then
		forgot = 'has restarted, or another took over'
	end
elseif before[2] ~= evicted then
	forgot = 'evicts keys, set maxmemory-policy noeviction'
end
if not forgot and now < seen - 1000 then
	forgot = 'had its clock set back'
end
if forgot then
	since, why = now, forgot
end
if forgot or before[1] ~= run or now > seen + 1000 then
	redis.call('HSET', KEYS[1], 'run', run, 'evicted', evicted, 'seen', string.format('%.0f', now),
		'since', string.format('%.0f', since), 'why', why)
end

if math.abs(tonumber(ARGV[1]) - now) > tonumber(ARGV[2]) then
	return { 'clocks', now, '' }
end
if not KEYS[2] then
	return { 'well', since, why }
end
local used = redis.call('GET', KEYS[2])
if used then
	-- The same attempt asks again if its first answer was lost.
	return { used == ARGV[6] and 'fresh' or 'used', since, why }
end
if tonumber(ARGV[4]) - tonumber(ARGV[2]) < since then
	return { 'held', since, why }
end
redis.call('SET', KEYS[2], ARGV[6], 'NX', 'PX', string.format('%.0f', math.max(1, tonumber(ARGV[5]) - now)))
return { 'fresh', since, why }
