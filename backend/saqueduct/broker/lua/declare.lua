-- Declare the schedules and the limits of a queue; removes others, and the pauses of schedules. ARGV: 4 fingerprint of the
-- declaration; 5 '1' to replace another one that is older, or gone, '0' only if there is none; 6 in MessagePack the names
-- and rules of the limits; then three per schedule: key, timing, next tick. A schedule with an unchanged timing keeps its
-- tick, even if it is overdue.
-- Returns the names of the limits that changed; nothing if there is another declaration.
note_look(ARGV[4])
local declared = redis.call('GET', DECLARED)
if declared and declared ~= ARGV[4] and (ARGV[5] == '0' or stays(declared, ARGV[4])) then return {} end
local all = redis.call('HGETALL', DECLARATIONS)
for i = 1, #all, 2 do
    local _, last = seen(all[i])
    if not last or NOW - last > REMEMBERED then redis.call('HDEL', DECLARATIONS, all[i]) end
end
local gone = {}
for _, key in ipairs(redis.call('HKEYS', TIMINGS)) do gone[key] = true end
for i = 7, #ARGV, 3 do
    local key, timing, tick = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    gone[key] = nil
    if redis.call('HGET', TIMINGS, key) ~= timing or not redis.call('ZSCORE', TICKS, key) then
        redis.call('HSET', TIMINGS, key, timing)
        redis.call('ZADD', TICKS, tick, key)
    end
end
for key in pairs(gone) do
    redis.call('HDEL', TIMINGS, key)
    redis.call('ZREM', TICKS, key)
    redis.call('HDEL', TICKED, key)
    redis.call('HDEL', SCHEDULES_PAUSED, key)
end
redis.call('SET', DECLARED, ARGV[4])
return limits(true).declare(cmsgpack.unpack(ARGV[6]))
