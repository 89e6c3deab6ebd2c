-- Take a gate for a part of a running job, or wait for it. ARGV: 4 key of the job, 5 its lease, 6 the gate, 7 name and 8 rule
-- of its limit in the caller's code, which counts until workers have declared it, 9 the token of the call, 10 '1' to give
-- the gate back, or to wait no longer; '2' the same, and nothing was done with it.
-- Returns 'granted'; 'free': the same, and nothing is to be given back; 'own' if the job has that gate as long as it runs;
-- 'lost' if its lease is. Else it waits: after how many seconds to ask again, or '' if that depends on others. Messages
-- follow on the channel of the token: 'granted', or another number of seconds. A repeated call has the same effect as one.
local id = PREFIX .. ARGV[4]
if ARGV[10] ~= '' then
    even_when_full()
    if limits(ARGV[10] == '2') then loaded.give(id, ARGV[9], ARGV[6], ARGV[10] == '2') end
    return ''
end
local owner = redis.call('HGET', OWNERS, id)
if not owner or not is_held(owner, ARGV[5]) then return 'lost' end
return limits(true).take(id, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
