-- Store updates of a job; for a leased job only if its lease still holds. ARGV: 4 key, 5 lease ('' none),
-- 6 JSON, 7 status.
local id = PREFIX .. ARGV[4]
if ARGV[5] == '' then
    if redis.call('MGET', id)[1] == '' then
        redis.call('SET', aside(id), ARGV[6], 'XX', 'KEEPTTL')
    else
        redis.call('SET', id, ARGV[6])
    end
else
    if not is_held(redis.call('HGET', OWNERS, id), ARGV[5]) then return 0 end
    even_when_full()
    redis.call('SET', id, ARGV[6], 'KEEPTTL')
end
notify(listened({id}), id, ARGV[7])
return 1
