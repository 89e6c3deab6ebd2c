-- Resume a schedule. ARGV: 4 schedule. Returns 1, or 0: it was not paused.
-- When a tick came due in the pause and no worker has looked yet, 'until' and the time stay for `fire.lua`.
local note = redis.call('HGET', SCHEDULES_PAUSED, ARGV[4])
if not note or string.sub(note, 1, 5) == 'until' then return 0 end
local tick = redis.call('ZSCORE', TICKS, ARGV[4])
if tick and tonumber(tick) <= NOW then
    redis.call('HSET', SCHEDULES_PAUSED, ARGV[4], string.format('until %.6f', NOW))
else
    redis.call('HDEL', SCHEDULES_PAUSED, ARGV[4])
end
return 1
