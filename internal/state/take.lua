-- Takes a ticket away and returns its owner, or false.
local owner = redis.call('GET', KEYS[1])
if owner then
	redis.call('DEL', KEYS[1])
end
return owner
