-- The reports of live workers. Returns key, JSON of each.
local keys = redis.call('ZRANGEBYSCORE', STATS, string.format('%.0f', SERVER * 1000), '+inf')
local found = {}
for _, key in ipairs(keys) do
    found[#found + 1], found[#found + 2] = key, redis.call('GET', key)
end
return found
