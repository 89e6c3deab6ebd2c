-- Drop the entries of jobs that are gone, evicted or deleted by hand. From ARGV 4 on ids of jobs that are incomplete, or that
-- stock workers have taken.
-- Answers how many were incomplete. What waits in a list is left to `clear.lua`: to search it would cost as much as it is long.
local dropped = 0
local stock = redis.call('EXISTS', ACTIVE) == 1
for i = 4, #ARGV do
    local job = redis.call('MGET', ARGV[i])[1]
    local taken = (not job or job == '') and stock and redis.call('LREM', ACTIVE, 0, ARGV[i]) > 0
    if not job or taken then
        dropped = dropped + redis.call('ZREM', INCOMPLETE, ARGV[i])
        redis.call('HDEL', LEVELS, ARGV[i])
    end
end
return dropped
