-- A worker's vitals, with the time at which they were told. ARGV: 4 the worker, 5 JSON.
redis.call('HSET', VITALS, ARGV[4], string.format('%.3f ', NOW) .. ARGV[5])
