-- Enqueue many jobs. ARGV: 5 in MessagePack a row for each, see `admit.lua`. Answers for each what `admit` does.
-- Jobs that start at once at the normal level, are not unique and have keys of their own, as most have, go together.
local rows = cmsgpack.unpack(ARGV[5])
local ids, guards = {}, {}
for i, row in ipairs(rows) do
    ids[i] = PREFIX .. row[1]
    guards[2 * i - 1], guards[2 * i] = ABORT_PREFIX .. row[1], ABORTS .. row[1]
end
local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(ids))
local aborting = redis.call('EXISTS', unpack(guards)) > 0

local answers, seen = {}, {}
local jobs, entries, scored = {}, {}, {}

local function together()
    if #entries == 0 then return end
    redis.call('MSET', unpack(jobs))
    redis.call('ZADD', INCOMPLETE, unpack(scored))
    redis.call('RPUSH', QUEUED, unpack(entries))
    jobs, entries, scored = {}, {}, {}
end

for i, row in ipairs(rows) do
    local id = ids[i]
    if row[3] == '0' and row[4] == 'normal' and #row[5] == 0 and not scores[i] and not seen[id] and not aborting then
        local n = #entries
        entries[n + 1] = id
        jobs[2 * n + 1], jobs[2 * n + 2] = id, row[2]
        scored[2 * n + 1], scored[2 * n + 2] = 0, id
        answers[i] = 1
    else
        -- In the order of the calls.
        together()
        answers[i] = admit(row)
    end
    seen[id] = true
end
together()
return answers
