-- Drop the entries of jobs that no longer exist, evicted or deleted by hand. From ARGV 4 on ids of jobs that are
-- incomplete, or that stock workers have taken.
-- Returns how many were incomplete. Entries in lists are left to `clear.lua`: the cost of a search grows with the list.
local dropped = 0
local stock = redis.call('EXISTS', ACTIVE) == 1
for i = 4, #ARGV do
    local job = redis.call('MGET', ARGV[i])[1]
    local taken = (not job or job == '') and stock and redis.call('LREM', ACTIVE, 0, ARGV[i]) > 0
    if not job or taken then
        dropped = dropped + redis.call('ZREM', INCOMPLETE, ARGV[i])
        redis.call('HDEL', LEVELS, ARGV[i])
        local lane = limits() and redis.call('HGET', LANES, ARGV[i])
        if lane then loaded.withdraw(ARGV[i], lane) end
    end
end
return dropped
