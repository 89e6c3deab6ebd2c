-- Mark the lease of a job that is about to run alone in its process. ARGV: 4 its key, 5 its lease.
-- Returns 1, or 0: the lease was lost.
even_when_full()
local id, alone = PREFIX .. ARGV[4], ARGV[5] .. '|alone'
local owner = redis.call('HGET', OWNERS, id)
if owner ~= ARGV[5] and owner ~= alone then return 0 end
redis.call('HSET', OWNERS, id, alone)
return 1
