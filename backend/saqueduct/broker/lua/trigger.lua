-- Create a job of a schedule now; its ticks do not change. ARGV: 4 schedule, 5 '1' if its jobs may overlap, 6 in
-- MessagePack a list with the row of the job.
-- Returns {what, key of the existing job}: 'made'; 'overlaps': an earlier job of the schedule exists; 'claimed': one
-- that holds the claim exists; 'aborting': that one is being aborted.
local row = cmsgpack.unpack(ARGV[6])[1]
local last = redis.call('HGET', TICKED, ARGV[4])
if ARGV[5] == '0' and last and redis.call('ZSCORE', INCOMPLETE, PREFIX .. last) then return {'overlaps', last} end
local answer = admit(row)
if answer == 4 or answer == 5 then return {'aborting', row[1]} end
if answer == 0 then return {'overlaps', row[1]} end
if answer ~= 1 then return {'claimed', answer} end
redis.call('HSET', TICKED, ARGV[4], row[1])
return {'made', row[1]}
