-- The jobs whose lease has run out. ARGV: 4 at most so many.
-- Answers {key, lease, deadline, JSON or '', reason of its abort or ''} for each.
-- Fails, as the command below changes nothing but counts as a write, when Redis refuses to write: then no living worker
-- can renew its leases either.
redis.call('ZREM', LEASES, '')
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', SERVER, 'LIMIT', 0, ARGV[4])) do
    local lease = redis.call('HGET', OWNERS, id)
    local job = redis.call('GET', id)
    if lease and job then
        found[#found + 1] = {string.sub(id, #PREFIX + 1), lease, redis.call('ZSCORE', LEASES, id), job,
            redis.call('HGET', ABORTING, id) or ''}
    else
        -- Evicted or deleted by hand: nothing is left to run.
        redis.call('HDEL', OWNERS, id)
        redis.call('ZREM', LEASES, id)
        redis.call('ZREM', INCOMPLETE, id)
        redis.call('HDEL', ABORTING, id)
    end
end
return found
