-- The leases that have run out. ARGV: 4 maximum number; 5 the lock of the sweeps of stock SAQ, 6 that of the engine's,
-- 7 seconds for which the first is held. Returns key, lease, deadline of each, the oldest first.
-- Also puts back entries that woke a worker which died before it leased, and prevents stock workers from sweeping: their
-- sweep aborts a job that a stock worker is just taking. A sweep in progress may continue until its lock runs out, so
-- that time becomes the engine's. Of jobs with limits and of their gates it checks some, see `limits.lua`; of gates also
-- when no such job is left.
-- Fails if Redis refuses to write, for any reason: then live workers may not be able to renew their leases.
local CHECKED = 200
unless_full()
put_back()
-- Stock workers have taken it for a job.
redis.call('LREM', ACTIVE, 0, WAKE)
if limits(redis.call('EXISTS', BASE .. 'gates', BASE .. 'rates') > 0) then loaded.check(CHECKED) end
local sweeper = redis.call('GET', ARGV[5])
if sweeper and sweeper ~= 'engine' then redis.call('RENAMENX', ARGV[5], ARGV[6]) end
redis.call('SET', ARGV[5], 'engine', 'EX', ARGV[7])
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
