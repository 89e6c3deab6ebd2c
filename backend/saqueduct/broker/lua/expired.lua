-- The leases that have run out. ARGV: 4 at most so many. Answers key, lease, deadline of each, the oldest first.
-- Also puts back what a worker was woken for that has died before it leased.
-- Fails when Redis refuses to write, for whatever reason: then living workers may not be able to renew their leases.
unless_full()
put_back()
local found = {}
local entries = redis.call('ZRANGEBYSCORE', LEASES, '-inf', SERVER, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for i = 1, #entries, 2 do
    local id, deadline = entries[i], entries[i + 1]
    local lease = redis.call('HGET', OWNERS, id)
    if lease then
        local n = #found
        found[n + 1], found[n + 2], found[n + 3] = string.sub(id, #PREFIX + 1), lease, deadline
    else
        redis.call('ZREM', LEASES, id)
    end
end
return found
