-- Move jobs that are due to their lists. ARGV: 4 maximum number. Returns their ids.
local due = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', string.format('%.6f', NOW), 'LIMIT', 0, ARGV[4])
for _, id in ipairs(due) do
    local priority = redis.call('HGET', LEVELS, id) or 'normal'
    redis.call('HDEL', LEVELS, id)
    let_wait(id, priority, '0')
end
return due
