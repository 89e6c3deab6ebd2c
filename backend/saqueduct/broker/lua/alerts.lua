-- The turn of the process that watches for alerts. ARGV: 4 the process; 5 seconds that its turn lasts; 6 JSON of what has
-- been reported, '': unchanged. Returns {time, JSON}; nil: another process has its turn.
local holder, ends = unpack(redis.call('HMGET', ALERTS, 'holder', 'ends'))
if holder and holder ~= ARGV[4] and tonumber(ends) > NOW then return nil end
redis.call('HSET', ALERTS, 'holder', ARGV[4], 'ends', string.format('%.3f', NOW + ARGV[5]))
if ARGV[6] ~= '' then redis.call('HSET', ALERTS, 'reported', ARGV[6]) end
return {string.format('%.6f', NOW), redis.call('HGET', ALERTS, 'reported') or ''}
