-- Publish to a channel when jobs end. ARGV: 4 the channel; from 5 on ids of jobs.
-- Returns for each 1: a message will follow; the job's JSON if it has ended; false if it does not exist.
even_when_full()
local answers = {}
local ids = {}
for i = 5, #ARGV do ids[i - 4] = ARGV[i] end
local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(ids))
for i, id in ipairs(ids) do
    if scores[i] then
        local others = redis.call('HGET', WAITERS, id)
        if not others then
            redis.call('HSET', WAITERS, id, ARGV[4])
        elseif not string.find(others, ARGV[4], 1, true) then
            redis.call('HSET', WAITERS, id, others .. ' ' .. ARGV[4])
        end
        answers[i] = 1
    else
        answers[i] = stored(id)
    end
end
-- Leftovers of jobs that a stock worker ended expire after an hour without waiters.
redis.call('EXPIRE', WAITERS, 3600)
return answers
