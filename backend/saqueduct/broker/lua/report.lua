-- A worker's report in SAQ's keys, by the clock of the server. ARGV: 4 its key, 5 JSON, 6 seconds for which it counts.
local current = math.floor(SERVER * 1000)
redis.call('SET', ARGV[4], ARGV[5], 'EX', ARGV[6])
redis.call('ZREMRANGEBYSCORE', STATS, 0, string.format('%.0f', current))
redis.call('ZADD', STATS, string.format('%.0f', current + tonumber(ARGV[6]) * 1000), ARGV[4])
redis.call('EXPIRE', STATS, ARGV[6])
