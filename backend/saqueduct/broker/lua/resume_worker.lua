-- Let a worker take jobs again; its next heartbeat tells it. ARGV: 4 the worker. Returns 1, or 0: it was not paused.
return redis.call('HDEL', WORKERS_PAUSED, ARGV[4])
