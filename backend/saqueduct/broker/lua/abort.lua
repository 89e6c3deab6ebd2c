-- Abort a job. ARGV: 4 key, 5 reason, 6 JSON as aborting, 7 JSON as aborted, 8 its ttl, 9 abort key, 10 its ttl,
-- 11 unique claim to release ('' none), 12 mark under which its end is kept until PostgreSQL has it ('' not kept).
-- Returns 'leased': its worker will end it; 'taken': a stock worker has it; 'withdrawn': it was waiting and has ended;
-- 'ended': there is nothing to abort.
even_when_full()
local id = PREFIX .. ARGV[4]
if redis.call('HEXISTS', OWNERS, id) == 1 then
    redis.call('HSET', ABORTING, id, ARGV[5])
    redis.call('PUBLISH', id, 'aborting')
    return 'leased'
end
local taken = redis.call('LREM', ACTIVE, 0, id) > 0
if redis.call('ZSCORE', INCOMPLETE, id) and not taken then
    withdraw(id, ARGV[7], kept(ARGV[8]))
    keep_unrecorded(ARGV[12], ARGV[7])
    give_up(ARGV[11], ARGV[4])
    redis.call('PUBLISH', id, 'aborted')
    deliver_one(id, ARGV[7])
    return 'withdrawn'
end
if redis.call('ZREM', INCOMPLETE, id) == 0 and (not taken or redis.call('MGET', id)[1] == '') then return 'ended' end
redis.call('SET', id, ARGV[6])
redis.call('SET', ARGV[9], ARGV[5], 'EX', ARGV[10])
redis.call('PUBLISH', id, 'aborting')
return 'taken'
