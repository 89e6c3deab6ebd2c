-- The jobs of leases that have run out. From ARGV 4 on two a job: key, lease.
-- Returns {key, lease, JSON, reason of its abort or ''} for each that still exists.
local found = {}
for i = 4, #ARGV, 2 do
    local key, lease = ARGV[i], ARGV[i + 1]
    local id = PREFIX .. key
    local job = redis.call('MGET', id)[1]
    if redis.call('HGET', OWNERS, id) == lease then
        if job then
            found[#found + 1] = {key, lease, job, redis.call('HGET', ABORTING, id) or ''}
        else
            -- Evicted or deleted by hand, or no text: nothing is left to run.
            redis.call('HDEL', OWNERS, id)
            redis.call('ZREM', LEASES, id)
            redis.call('ZREM', INCOMPLETE, id)
            redis.call('HDEL', ABORTING, id)
            local lane = limits() and redis.call('HGET', LANES, id)
            if lane then loaded.leave(id, lane) end
            if loaded then loaded.give_all(id) end
        end
    end
end
return found
