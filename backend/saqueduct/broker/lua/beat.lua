-- Store a worker's health report, with its time. ARGV: 4 the worker, 5 JSON.
redis.call('HSET', REPORTS, ARGV[4], string.format('%.3f ', NOW) .. ARGV[5])
