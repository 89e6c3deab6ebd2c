-- A worker stops: it must not lease jobs for a wait that began earlier. ARGV: 4 its token, see `waiting.py`.
even_when_full()
redis.call('SADD', LEAVING, ARGV[4])
redis.call('EXPIRE', LEAVING, 60)
return 1
