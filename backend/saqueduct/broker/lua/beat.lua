-- Store a worker's health report, with its time. ARGV: 4 the worker, 5 JSON. Returns the note of its pause, or false.
redis.call('HSET', REPORTS, ARGV[4], string.format('%.3f ', NOW) .. ARGV[5])
return redis.call('HGET', WORKERS_PAUSED, ARGV[4])
