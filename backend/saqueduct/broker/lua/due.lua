-- The schedules that are due. ARGV: 4 fingerprint of the caller's declaration, 5 maximum number.
-- Returns {'1' if that declaration is valid, '0' if another is, 'older' if the other is older or gone, '' if there is
-- none, time, seconds until the next tick (negative: overdue) or '', schedule, tick, schedule, tick, ...}.
local declared = redis.call('GET', DECLARED)
local first = redis.call('ZRANGE', TICKS, 0, 0, 'WITHSCORES')
if declared == ARGV[4] then note_look(declared) end
local holds = declared and (declared == ARGV[4] and '1' or stays(declared, ARGV[4]) and '0' or 'older') or ''
local answer = {holds, string.format('%.6f', NOW),
    first[2] and string.format('%.6f', tonumber(first[2]) - NOW) or ''}
if answer[1] ~= '1' then return answer end
local due = redis.call('ZRANGEBYSCORE', TICKS, '-inf', string.format('%.6f', NOW), 'WITHSCORES', 'LIMIT', 0, ARGV[5])
for _, part in ipairs(due) do answer[#answer + 1] = part end
return answer
