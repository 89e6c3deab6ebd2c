-- Ask a worker to take no more jobs; its next heartbeat tells it. ARGV: 4 the worker, 5 JSON of who and why. Returns the
-- stored note, or false: the worker has not reported.
even_when_full()
if redis.call('HEXISTS', REPORTS, ARGV[4]) == 0 then return false end
local note = pause_note(redis.call('HGET', WORKERS_PAUSED, ARGV[4]), ARGV[5])
redis.call('HSET', WORKERS_PAUSED, ARGV[4], note)
return note
