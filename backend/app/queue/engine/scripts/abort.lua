-- Abort a job. ARGV: 3 key, 4 reason, 5 JSON as aborting, 6 JSON as aborted, 7 its ttl, 8 abort key, 9 its ttl.
-- Answers 'leased': its worker will end it; 'taken': a stock worker has it; 'withdrawn': it waited, and has ended;
-- 'ended': there is nothing to abort.
local id = PREFIX .. ARGV[3]
if redis.call('HEXISTS', OWNERS, id) == 1 then
    redis.call('HSET', ABORTING, id, ARGV[4])
    redis.call('PUBLISH', id, 'aborting')
    return 'leased'
end
local taken = redis.call('LREM', ACTIVE, 0, id) > 0
if redis.call('ZSCORE', INCOMPLETE, id) and not taken then
    withdraw(id)
    store(id, ARGV[6], ARGV[7])
    redis.call('PUBLISH', id, 'aborted')
    return 'withdrawn'
end
if redis.call('ZREM', INCOMPLETE, id) == 0 and not taken then return 'ended' end
redis.call('SET', id, ARGV[5])
redis.call('SET', ARGV[8], ARGV[4], 'EX', ARGV[9])
redis.call('PUBLISH', id, 'aborting')
return 'taken'
