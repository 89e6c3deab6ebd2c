-- Let jobs wait in line whose time has come. ARGV: 3 the caller's clock, epoch seconds; 4 at most so many.
-- The server's clock decides. A caller whose clock is more than a day behind is a test that travels, not a clock
-- that is wrong: then its clock decides.
local DAY = 86400
local own = tonumber(ARGV[3])
local now = own < NOW - DAY and own or NOW
local due = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', now, 'LIMIT', 0, ARGV[4])
for _, id in ipairs(due) do
    local level = redis.call('HGET', LEVELS, id) or 'normal'
    redis.call('HDEL', LEVELS, id)
    stand(id, level, '0')
end
return due
