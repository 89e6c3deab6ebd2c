-- Write the outcomes of many jobs, each only if its lease still holds. ARGV: 4 '1' if only leases count that have
-- run out (recovery), else '0'; from 5, eight a job:
-- kind, key, lease ('' whoever has it), JSON, status, ttl or delay, level, unique claim to give up ('' none).
-- Kinds: 'finish' it has ended; 'retry' another attempt, after the delay in seconds; 'return' back to the front.
-- Answers for each 1, or 0 where the lease was lost.
local ids = {}
local count = (#ARGV - 4) / 8
for i = 1, count do ids[i] = PREFIX .. ARGV[4 + (i - 1) * 8 + 2] end
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
for i = 1, count do
    local base = 4 + (i - 1) * 8
    local kind, lease, job, status = ARGV[base + 1], ARGV[base + 3], ARGV[base + 4], ARGV[base + 5]
    local number, level, claim = ARGV[base + 6], ARGV[base + 7], ARGV[base + 8]
    local id = ids[i]
    local holds = lease == '' or redis.call('HGET', OWNERS, id) == lease
    if holds and ARGV[4] == '1' then
        local deadline = redis.call('ZSCORE', LEASES, id)
        holds = deadline and tonumber(deadline) <= SERVER
    end
    if not holds then
        answers[i] = 0
    else
        release(id, lease)
        if kind == 'finish' then
            redis.call('ZREM', INCOMPLETE, id)
            store(id, job, number)
            if claim ~= '' and redis.call('GET', claim) == ARGV[base + 2] then redis.call('DEL', claim) end
        else
            redis.call('SET', id, job)
            local start = tonumber(number) > 0 and after(number) or '0'
            stand(id, level, start, kind ~= 'retry')
            if start ~= '0' then wake_if_first(id) end
        end
        tell(heard, id, status)
        answers[i] = 1
    end
end
return answers
