-- The current jobs. From ARGV 4 on their ids. Returns three lists: the JSON of each, its lease, the reason of its abort.
local ids = {}
for i = 4, #ARGV do ids[i - 3] = ARGV[i] end
local jobs = redis.call('MGET', unpack(ids))
for i, job in ipairs(jobs) do
    if job == '' and not redis.call('ZSCORE', INCOMPLETE, ids[i]) then jobs[i] = redis.call('GET', aside(ids[i])) end
end
return {jobs, redis.call('HMGET', OWNERS, unpack(ids)), redis.call('HMGET', ABORTING, unpack(ids))}
