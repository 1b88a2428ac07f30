-- Judges an attempt to log in, or counts what became of one: what package guard does in memory, in one step.
-- KEYS: the addresses of the user (a sorted set, with the time at which each was seen last); the counts of the secret, the
--       pair, the address and the user (hashes of many; several may be the same one).
-- ARGV: 'take', 'accepted', 'refused' or 'undecided'; the half-life; the address; the names of the four counts.
--       With 'take': the four limits, 0 for none; the four counts up to which the client has waited long enough.
--       Else: when places were taken, or 0; four times 1 or 0, in which counts.
-- Returns with 'take': 1 if places were taken; 1 if the user is known at the address; when; the four counts, as text.
--       Else 1.
-- A count is 'SCORE AT', and ' SINCE=PLACES' for each bucket of time in which places were taken that may not have been given
-- back: those of a front that died end with their bucket. All times are Unix milliseconds of this clock.
local bucket, life = 15000, 60000
local knownFor, knownAddresses = 30 * 24 * 3600 * 1000, 8
local negligible, maxScore = 1 / 128, 1e6
local perHash = 1024

local op, half = ARGV[1], tonumber(ARGV[2])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local current = now - now % bucket

-- read makes a count of its text as it is now. What is none counts for nothing.
local function read(text)
	local c = { score = 0, taken = 0, places = {}, found = text and true }
	local score, at, rest = string.match(text or '', '^(%S+) (%d+)(.*)$')
	score, at = tonumber(score), tonumber(at)
	if not score or not at then
		return c
	end
	c.ahead = at > now -- the clock was set back
	score = math.min(score, maxScore) * 2 ^ (-math.max(now - at, 0) / half)
	if score >= negligible then
		c.score = score
	end
	for since, n in string.gmatch(rest, ' (%d+)=(%d+)') do
		since, n = tonumber(since), tonumber(n)
		if since > now - life - bucket and since <= now and n > 0 then
			c.places[since] = n
			c.taken = c.taken + n
		end
	end
	return c
end

-- makeRoom looks at a few counts by chance, drops those that have faded, and the lowest if the hash is full.
local function makeRoom(key)
	local n = redis.call('HLEN', key)
	if n == 0 then
		return
	end
	local sample = redis.call('HRANDFIELD', key, n < perHash and 2 or 8, 'WITHVALUES')
	local lowest, least
	for i = 1, #sample, 2 do
		local c = read(sample[i + 1])
		local weight = c.score + c.taken
		if weight == 0 then
			n = n - redis.call('HDEL', key, sample[i])
		elseif not least or weight < least then
			lowest, least = sample[i], weight
		end
	end
	if n >= perHash and lowest then
		redis.call('HDEL', key, lowest)
	end
end

local function write(key, name, c)
	if c.score < negligible and c.taken == 0 then
		if c.found then
			redis.call('HDEL', key, name)
		end
		return
	end
	if not c.found then
		makeRoom(key)
	end
	local text = string.format('%.17g %.0f', c.score, now)
	for since, n in pairs(c.places) do
		text = text .. string.format(' %.0f=%.0f', since, n)
	end
	redis.call('HSET', key, name, text)
	-- In so many half-lives the highest count fades; what is dropped then is nothing.
	redis.call('PEXPIRE', key, string.format('%.0f', math.max(28 * half, 2 * life)))
end

local counts = {}
for i = 1, 4 do
	counts[i] = read(redis.call('HGET', KEYS[i + 1], ARGV[i + 3]))
	if counts[i].ahead then
		write(KEYS[i + 1], ARGV[i + 3], counts[i]) -- or it would not fade until then
	end
end

if op == 'take' then
	local seen = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[3]))
	local known = seen and now - seen <= knownFor
	local granted, scores, judged = 1, { '0', '0', '0', '0' }, {}
	for i = 1, known and 2 or 4 do
		local c, limit = counts[i], tonumber(ARGV[i + 7])
		if limit > 0 then
			judged[#judged + 1] = i
			scores[i] = string.format('%.17g', c.score)
			if c.score + c.taken + 1 > limit or c.score > tonumber(ARGV[i + 11]) then
				granted = 0
			end
		end
	end
	if granted == 1 then
		for _, i in ipairs(judged) do
			local c = counts[i]
			c.places[current] = (c.places[current] or 0) + 1
			c.taken = c.taken + 1
			write(KEYS[i + 1], ARGV[i + 3], c)
		end
	end
	return { granted, known and 1 or 0, current, scores[1], scores[2], scores[3], scores[4] }
end

local since = tonumber(ARGV[8])
local add = counts[1].score == 0 and 1 or 0 -- the same wrong password again is no guess
local spent = counts[2].score
for i = 1, 4 do
	local c = counts[i]
	if ARGV[i + 8] == '1' and c.places[since] then
		c.taken = c.taken - 1
		c.places[since] = c.places[since] > 1 and c.places[since] - 1 or nil
	end
	if op == 'refused' then
		c.score = math.min(c.score + (i == 1 and 1 or add), maxScore)
	elseif op == 'accepted' then
		c.score = i > 2 and math.max(c.score - spent, 0) or 0
	end
	write(KEYS[i + 1], ARGV[i + 3], c)
end
if op == 'accepted' then
	redis.call('ZADD', KEYS[1], now, ARGV[3])
	redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -knownAddresses - 1)
	redis.call('PEXPIRE', KEYS[1], string.format('%.0f', knownFor))
end
return 1
