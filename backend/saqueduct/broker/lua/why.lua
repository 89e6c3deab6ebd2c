-- What a job with limits waits for. ARGV: 4 its id, 5 how many jobs to name that run.
-- Returns {} if it waits in no lane, and to take no limit; else see `explain` in `limits.lua`.
even_when_full()
local lane = limits() and redis.call('HGET', LANES, ARGV[4])
if loaded and redis.call('HEXISTS', OWNERS, ARGV[4]) == 1 then return loaded.explain_takes(ARGV[4], tonumber(ARGV[5])) end
if not lane then return {} end
if redis.call('ZSCORE', INCOMPLETE, ARGV[4]) ~= '0' then return {} end
return loaded.explain(ARGV[4], lane, tonumber(ARGV[5]))
