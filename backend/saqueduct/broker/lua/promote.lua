-- Move jobs that are due to their lists, and look at gates that are due. ARGV: 4 maximum number. Returns the ids.
local due = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', string.format('%.6f', NOW), 'LIMIT', 0, ARGV[4])
local lanes = limits() and #due > 0 and redis.call('HMGET', LANES, unpack(due))
if loaded then loaded.open_gates() end
for i, id in ipairs(due) do
    local priority = redis.call('HGET', LEVELS, id) or 'normal'
    redis.call('HDEL', LEVELS, id)
    let_wait(id, priority, '0', false, lanes and lanes[i])
end
return due
