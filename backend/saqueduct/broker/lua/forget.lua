-- Delete a job that ended long ago, unless its key has been enqueued again meanwhile. ARGV: 4 its key, 5 when it had ended, in
-- epoch milliseconds. Returns 1, or 0: it is another job now, or gone.
local id = PREFIX .. ARGV[4]
local read, job = pcall(cjson.decode, stored(id) or '')
if not read or type(job) ~= 'table' or job.completed ~= tonumber(ARGV[5]) then return 0 end
redis.call('DEL', id, aside(id))
return 1
