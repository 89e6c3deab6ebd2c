-- Mark entries in a part of a list that are not incomplete jobs. ARGV: 4 priority of the list; 5 how many entries to
-- skip at its end; 6 how many to check before those; 7 the mark.
-- Counted from the end: meanwhile jobs are taken from the front, which would move others past the check.
-- Returns how many were checked (0: none is left), and how many are marked.
local list = LISTS[ARGV[4]]
local last = redis.call('LLEN', list) - tonumber(ARGV[5]) - 1
if last < 0 then return {0, 0} end
local first = math.max(0, last - tonumber(ARGV[6]) + 1)
local entries = redis.call('LRANGE', list, first, last)
local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(entries))
local marked = 0
for i, id in ipairs(entries) do
    if not scores[i] and id ~= WAKE then
        redis.call('LSET', list, first + i - 1, ARGV[7])
        marked = marked + 1
    end
end
return {#entries, marked}
