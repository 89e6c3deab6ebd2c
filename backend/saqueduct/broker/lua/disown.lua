-- Release jobs leased to a worker by calls whose answers it never got: none of them has begun.
-- From ARGV 4 on the prefixes of the leases of each call.
local lost = {}
for i = 4, #ARGV do lost[ARGV[i]] = true end
local ids = redis.call('ZRANGE', LEASES, 0, -1)
for first = 1, #ids, 1000 do
    local chunk = {unpack(ids, first, math.min(first + 999, #ids))}
    local owners = redis.call('HMGET', OWNERS, unpack(chunk))
    for i, id in ipairs(chunk) do
        -- Less its time, which is behind the number of the call.
        if owners[i] and lost[string.sub(owners[i], 1, -17)] then
            redis.call('HSET', OWNERS, id, owners[i] .. '|unbegun')
            redis.call('ZADD', LEASES, 0, id)
        end
    end
end
