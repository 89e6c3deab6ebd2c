-- Enqueue jobs from the outbox, each once regardless of how often it is tried. ARGV: 4 time after which the call is too
-- late (by this clock); 5 in MessagePack a row for each: mark, time of its enqueue, its manual retry number, '1' if
-- Redis may have lost it, row of the job for `admit.lua`.
-- Returns 'late', or for each the answer of `admit`; 2: it was already enqueued.
-- A mark shows that a job of the outbox was enqueued. It is kept until its row is deleted from PostgreSQL, and longer
-- than an earlier call may be in flight: so every call finds the row or the mark of a job that has run.
if NOW > tonumber(ARGV[4]) then return 'late' end

local function known(id, mark, queued, round)
    -- Its end waits for PostgreSQL, also when the job itself is gone.
    if redis.call('HEXISTS', UNRECORDED, mark) == 1 then return true end
    if redis.call('ZSCORE', INCOMPLETE, id) or redis.call('HEXISTS', OWNERS, id) == 1 then return true end
    local read, job = pcall(cjson.decode, stored(id) or '')
    if not read or type(job) ~= 'table' then return false end
    local meta = type(job.meta) == 'table' and job.meta or {}
    return job.queued == queued and (meta['saqueduct.round'] or 0) == round
end

local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do
    local mark, queued, round, again, job = unpack(row)
    if again == '0' and redis.call('ZSCORE', PUBLISHED, mark) or again == '1' and known(PREFIX .. job[1], mark, queued, round) then
        answers[i] = 2
    else
        answers[i] = admit(job)
        if answers[i] ~= 4 and answers[i] ~= 5 then redis.call('ZADD', PUBLISHED, SERVER, mark) end
    end
end
return answers
