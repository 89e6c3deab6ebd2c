-- Store what a running job tells of itself, if its lease still holds. ARGV: 3 key, 4 lease, 5 JSON, 6 status.
local id = PREFIX .. ARGV[3]
if redis.call('HGET', OWNERS, id) ~= ARGV[4] then return 0 end
redis.call('SET', id, ARGV[5], 'KEEPTTL')
tell(listened({id}), id, ARGV[6])
return 1
