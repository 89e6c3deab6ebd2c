-- Enqueue many jobs. ARGV: 4 in MessagePack groups {true, {id, JSON, id, JSON, ...}} or {false, rows}, in the order of
-- the calls. Returns for each job the answer of `admit`.
-- The first are new jobs: they start now with normal priority, are not unique, and have random keys that no other job
-- has. They are pushed together; if one exists, this same call created it, its answer was lost, and it was sent again.
local function together(jobs)
    local entries, scored = {}, {}
    for i = 1, #jobs, 2 do
        entries[#entries + 1] = jobs[i]
        scored[i], scored[i + 1] = 0, jobs[i]
    end
    redis.call('ZADD', INCOMPLETE, unpack(scored))
    redis.call('RPUSH', QUEUED, unpack(entries))
end

local answers = {}
for _, group in ipairs(cmsgpack.unpack(ARGV[4])) do
    local new, rows = group[1], group[2]
    if not new then
        for _, row in ipairs(rows) do answers[#answers + 1] = admit(row) end
    else
        if redis.call('MSETNX', unpack(rows)) == 1 then
            together(rows)
        else
            for i = 1, #rows, 2 do
                if redis.call('MSETNX', rows[i], rows[i + 1]) == 1 then together({rows[i], rows[i + 1]}) end
            end
        end
        for _ = 1, #rows, 2 do answers[#answers + 1] = 1 end
    end
end
return answers
