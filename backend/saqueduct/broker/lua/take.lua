-- Take a gate for a part of a running job, or wait for it. ARGV: 4 key of the job, 5 its lease, 6 the gate, 7 name and 8 rule
-- of its limit in the caller's code, which counts until workers have declared it, 9 the token of the call, 10 '1' to give
-- the gate back, or to wait no longer.
-- Returns 'granted'; 'free': the same, and nothing is to be given back; seconds until the gate opens by itself, or '' if that depends on others: it waits, and a message on the
-- channel of the token follows, see `grant` in `limits.lua`; 'own' if the job has that gate as long as it runs; 'lost' if
-- its lease is.
local id = PREFIX .. ARGV[4]
if ARGV[10] == '1' then
    even_when_full()
    if limits() then loaded.give(id, ARGV[9]) end
    return ''
end
local owner = redis.call('HGET', OWNERS, id)
if not owner or not is_held(owner, ARGV[5]) then return 'lost' end
return limits(true).take(id, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
