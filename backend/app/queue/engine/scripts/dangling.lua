-- Drop the entries of jobs that are gone, evicted or deleted by hand. From ARGV 4 on ids of incomplete jobs.
-- Answers how many. What stands in a list is left to `clear.lua`: to search it would cost as much as it is long.
local dropped = 0
for i = 4, #ARGV do
    if redis.call('EXISTS', ARGV[i]) == 0 then
        dropped = dropped + redis.call('ZREM', INCOMPLETE, ARGV[i])
        redis.call('HDEL', LEVELS, ARGV[i])
    end
end
return dropped
