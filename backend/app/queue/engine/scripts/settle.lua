-- Write the outcomes of many jobs, each only if its lease still holds. ARGV: 4 '1' if only leases count that have
-- run out (recovery), else '0'; 5 in MessagePack a row for each job: kind, key, lease ('' whoever has it), JSON,
-- status, ttl or delay, level, unique claim to give up ('' none).
-- Kinds: 'finish' it has ended; 'retry' another attempt, after the delay in seconds; 'return' back to the front.
-- Answers for each 1, or 0 where the lease was lost.
local rows = cmsgpack.unpack(ARGV[5])
local ids = {}
for i, row in ipairs(rows) do ids[i] = PREFIX .. row[2] end
local heard = listened(ids)
local aborts = redis.call('EXISTS', ABORTING) == 1
local stock = redis.call('EXISTS', ACTIVE) == 1

local function release(id, lease)
    if lease == '' and stock then redis.call('LREM', ACTIVE, 1, id) end
    redis.call('HDEL', OWNERS, id)
    redis.call('ZREM', LEASES, id)
    if aborts then redis.call('HDEL', ABORTING, id) end
end

local answers = {}
for i, row in ipairs(rows) do
    local kind, key, lease, job, status, number, level, claim = unpack(row)
    local id = ids[i]
    local holds = lease == '' or redis.call('HGET', OWNERS, id) == lease
    if holds and ARGV[4] == '1' then
        local deadline = redis.call('ZSCORE', LEASES, id)
        holds = deadline and tonumber(deadline) <= SERVER
    end
    if not holds then
        answers[i] = 0
    else
        -- The lease is let go last: if a command before fails, the job is recovered.
        if kind == 'finish' then
            store(id, job, number)
            redis.call('ZREM', INCOMPLETE, id)
            if claim ~= '' and redis.call('GET', claim) == key then redis.call('DEL', claim) end
        else
            redis.call('SET', id, job)
            local start = tonumber(number) > 0 and after(number) or '0'
            stand(id, level, start, kind ~= 'retry')
            if start ~= '0' then wake_if_first(id) end
        end
        release(id, lease)
        tell(heard, id, status)
        answers[i] = 1
    end
end
return answers
