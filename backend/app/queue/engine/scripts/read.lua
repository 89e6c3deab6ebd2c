-- Jobs as they stand. From ARGV 4 on their ids. Answers three lists: the JSON of each, its lease, the reason of its abort.
local ids = {}
for i = 4, #ARGV do ids[i - 3] = ARGV[i] end
return {redis.call('MGET', unpack(ids)), redis.call('HMGET', OWNERS, unpack(ids)), redis.call('HMGET', ABORTING, unpack(ids))}
