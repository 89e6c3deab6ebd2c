-- Store what a running job tells of itself, if its lease still holds. ARGV: 4 key, 5 lease, 6 JSON, 7 status.
local id = PREFIX .. ARGV[4]
if not is_held(redis.call('HGET', OWNERS, id), ARGV[5]) then return 0 end
even_when_full()
redis.call('SET', id, ARGV[6], 'KEEPTTL')
tell(listened({id}), id, ARGV[7])
return 1
