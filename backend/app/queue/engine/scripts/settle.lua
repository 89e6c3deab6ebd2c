-- Write the outcomes of many jobs, each only if its lease still holds. ARGV: 4 '1' if only leases count that have
-- run out (recovery), else '0'; 5 in MessagePack a row for each job: kind, key, lease ('' whoever has it), JSON,
-- status, ttl or delay, level, unique claim to give up ('' none).
-- Kinds: 'finish' it has ended; 'retry' another attempt, after the delay in seconds; 'return' back to the front.
-- Answers for each 1, 0 where the lease was lost, or the reason of its abort, where a job is not to go on: its lease stays.
local rows = cmsgpack.unpack(ARGV[5])
local ids = {}
for i, row in ipairs(rows) do ids[i] = PREFIX .. row[2] end
local heard = listened(ids)
local aborts = redis.call('EXISTS', ABORTING) == 1 and redis.call('HMGET', ABORTING, unpack(ids))
local stock = redis.call('EXISTS', ACTIVE) == 1
local inboxes = redis.call('EXISTS', WAITERS) == 1 and redis.call('HMGET', WAITERS, unpack(ids))
local recovery = ARGV[4] == '1'

local owners, deadlines = {}, {}
for i, owner in ipairs(redis.call('HMGET', OWNERS, unpack(ids))) do owners[ids[i]] = owner end
if recovery then
    for i, deadline in ipairs(redis.call('ZMSCORE', LEASES, unpack(ids))) do deadlines[ids[i]] = deadline end
end

local function holds(id, lease)
    -- A worker that gave its lease up as late, in the moment in which the job ended, may still tell how, as long as
    -- nobody has recovered it.
    if lease ~= '' and owners[id] ~= lease and owners[id] ~= lease .. '|late' then return false end
    -- Whoever it was, it is settled now.
    owners[id] = nil
    return not recovery or (deadlines[id] and tonumber(deadlines[id]) <= SERVER)
end

local answers, released, ended = {}, {}, {}
for i, row in ipairs(rows) do
    local kind, key, lease, job, status, number, level, claim = unpack(row)
    local id = ids[i]
    if not holds(id, lease) then
        answers[i] = 0
    elseif kind ~= 'finish' and aborts and aborts[i] then
        answers[i] = aborts[i]
    else
        if kind == 'finish' then
            store(id, job, number)
            ended[#ended + 1] = id
            give_up(claim, key)
            if inboxes and inboxes[i] then deliver(id, inboxes[i], tonumber(number) >= 0 and job or '') end
        else
            redis.call('SET', id, job)
            local start = tonumber(number) > 0 and after(number) or '0'
            stand(id, level, start, kind ~= 'retry')
            if start ~= '0' then wake_if_first(id) end
        end
        if lease == '' and stock then redis.call('LREM', ACTIVE, 1, id) end
        released[#released + 1] = id
        tell(heard, id, status)
        answers[i] = 1
    end
end
-- The leases are let go last: if a command before fails, the jobs are recovered.
if #ended > 0 then redis.call('ZREM', INCOMPLETE, unpack(ended)) end
if #released > 0 then
    redis.call('HDEL', OWNERS, unpack(released))
    redis.call('ZREM', LEASES, unpack(released))
    if aborts then redis.call('HDEL', ABORTING, unpack(released)) end
end
return answers
