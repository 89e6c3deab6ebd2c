-- Resume the queue, and wake the workers that wait for it. Returns 1, or 0: it was not paused.
if redis.call('DEL', PAUSED) == 0 then return 0 end
-- It stays, so that a worker that was refused a moment before, and has yet to wait, wakes too.
redis.call('RPUSH', RESUMED, 'resumed')
return 1
