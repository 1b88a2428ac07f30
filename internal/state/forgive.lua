-- Forgets the counts that an address and a user have a part in; places stay.
-- KEYS: a hash of counts. ARGV: the address and the user, of which one may be empty and stands for any then.
-- Returns how many there were. The name of a count is a letter, its address if it has one, its user if it has one.
local counts = redis.call('HGETALL', KEYS[1])
local n = 0
for i = 1, #counts, 2 do
	local kind, address, user = string.match(counts[i], '^(%a):(%x*):(%x*)')
	if kind and (ARGV[1] == '' or ARGV[1] == address) and (ARGV[2] == '' or ARGV[2] == user) then
		local places = string.match(counts[i + 1], '^%S+( %d+ .*)$')
		if places then
			redis.call('HSET', KEYS[1], counts[i], '0' .. places)
		else
			redis.call('HDEL', KEYS[1], counts[i])
		end
		n = n + 1
	end
end
return n
