-- Write the outcomes of many jobs, each only if its lease still holds. ARGV: 4 '1' to accept only leases that have
-- run out (recovery), else '0'; 5 in MessagePack {{how, last, how, last, ...}, {id, ...}, {JSON, ...}}, where `last` is the
-- place of the last of the jobs in a row that have this outcome in common; 6 '1' if a job may be among them twice, else '0'.
-- A how: kind, lease ('' a stock worker's, or none), status, ttl or delay, priority, unique claim to release, or of a
-- debounced job that does not end the claim without which it must not continue ('' none), mark under which its end is kept
-- until PostgreSQL has it ('' not kept), and of an attempt that closes a gate this gate, for how many seconds, and the time
-- after which the job must not start ('' none).
-- Kinds: 'finish' it has ended; 'retry' another attempt, after the delay in seconds; 'return' back to the front;
-- 'postpone' as if it had never been leased, after the delay; 'throttle' the same at the front of its lane, one of whose
-- gates it closes. A gate is closed also if the job ends, or must not continue.
-- Returns for each 1, 0 if the lease was lost; if it must not continue, the reason of its abort, or {key of the job of a
-- later call, '' if that has ended}: its lease stays.
-- Returns nothing if that is 1 for all.
even_when_full()
-- Three lists as they are needed: a list that is made here grows one by one, at a cost for each job.
local hows, ids, jobs = unpack(cmsgpack.unpack(ARGV[5]))
local n = #ids
local heard = listened(ids)
-- What most queues do not have, with one command.
local rare = redis.call('EXISTS', ABORTING, ACTIVE, WAITERS) > 0
local aborts = rare and redis.call('EXISTS', ABORTING) == 1 and redis.call('HMGET', ABORTING, unpack(ids))
local stock = rare and redis.call('EXISTS', ACTIVE) == 1
local inboxes = rare and redis.call('EXISTS', WAITERS) == 1 and redis.call('HMGET', WAITERS, unpack(ids))
local owners = redis.call('HMGET', OWNERS, unpack(ids))
local deadlines = ARGV[4] == '1' and redis.call('ZMSCORE', LEASES, unpack(ids))
local lanes = uses_limits() and redis.call('HMGET', LANES, unpack(ids))
-- What the short way does not know.
local general = lanes and redis.call('EXISTS', BASE .. 'closed', BASE .. 'expires', BASE .. 'missed', TAKES) > 0
local takes = general and limits().takers(ids)
local settled = ARGV[6] == '1' and {}
-- Whether nothing is in use but what most jobs need, and whether the jobs of a group have just ended.
local usual, plain = not (aborts or stock or inboxes or deadlines or takes or settled), false

-- Of the jobs, by their place: what is answered for those that were not written, and whether others have not ended.
local answers, going_on = {}, {}
-- Jobs that go back to the front, to be pushed there from the last to the first, so that they keep their order.
local fronts = {}
local group, last = -1, 0
local kind, lease, status, number, priority, claim, mark, gate, seconds, expires
-- Jobs to store that have ended, {id, JSON, ...}, and in milliseconds when each is deleted, or false. With SET for each, Redis
-- would make a table of each answer.
local values, deletions, stored_count, deletion = {}, {}, 0, nil
for i = 1, n do
    local id = ids[i]
    if i > last then
        group = group + 2
        last = hows[group + 1]
        kind, lease, status, number, priority, claim, mark, gate, seconds, expires = unpack(hows[group])
        -- Once for the whole group, not for each job.
        if kind == 'finish' then
            number = kept(number)
            deletion = number ~= '0' and string.format('%.0f', (SERVER + number) * 1000)
        end
        plain = usual and kind == 'finish' and number ~= '-1' and lease ~= '' and claim == '' and mark == '' and not gate
    end
    local owner, held = owners[i], nil
    if plain and owner == lease then
        stored_count = stored_count + 1
        values[2 * stored_count - 1], values[2 * stored_count], deletions[stored_count] = id, jobs[i], deletion
        if heard ~= false then notify(heard, id, status) end
    else
        if lease == '' then
            held = not owner
        else
            held = owner == lease or is_held(owner, lease)
        end
        if settled and held then
            -- Of two outcomes under one lease the first counts.
            held = not settled[id] or lease == ''
            settled[id] = true
        end
        if deadlines and held then held = deadlines[i] and tonumber(deadlines[i]) <= SERVER end
        if held and gate then limits(true).close(gate, tonumber(seconds)) end
        local key = claim ~= '' and string.sub(id, #PREFIX + 1)
        if not held then
            answers[i] = 0
        elseif kind ~= 'finish' and aborts and aborts[i] then
            answers[i] = aborts[i]
        elseif kind ~= 'finish' and key and redis.call('GET', claim) ~= key then
            answers[i] = {redis.call('GET', claim) or ''}
        else
            if takes and takes[i] then loaded.give_all(id) end
            if kind == 'finish' then
                if settled or number == '-1' then
                    store(id, jobs[i], number)
                else
                    stored_count = stored_count + 1
                    values[2 * stored_count - 1], values[2 * stored_count], deletions[stored_count] = id, jobs[i], deletion
                end
                if mark ~= '' then keep_unrecorded(mark, jobs[i]) end
                if key then give_up(claim, key) end
                if inboxes and inboxes[i] then deliver(id, inboxes[i], number ~= '-1' and jobs[i] or '') end
            else
                going_on[i] = true
                redis.call('SET', id, jobs[i])
                local start = tonumber(number) > 0 and after(number) or '0'
                local lane = lanes and lanes[i]
                -- A job from before its task had that limit waits for the time itself.
                if kind == 'throttle' and lane and string.find('\n' .. lane .. '\n', '\n' .. gate .. '\n', 1, true) then start = '0' end
                if lane then limits().pass(id, lane, expires or '') end
                if start == '0' and kind ~= 'retry' then
                    fronts[#fronts + 1] = {id, priority, lane}
                else
                    let_wait(id, priority, start, false, lane)
                    if start ~= '0' then wake_if_first(id) end
                end
            end
            if lease == '' and stock then redis.call('LREM', ACTIVE, 1, id) end
            if heard ~= false then notify(heard, id, status) end
        end
    end
end
-- A command has 8,000 arguments at most.
for i = 1, 2 * stored_count, 4000 do
    redis.call('MSET', unpack(values, i, math.min(i + 3999, 2 * stored_count)))
end
local call = redis.call
for i = 1, stored_count do
    if deletions[i] then call('PEXPIREAT', values[2 * i - 1], deletions[i]) end
end
for i = #fronts, 1, -1 do
    local id, priority, lane = unpack(fronts[i])
    let_wait(id, priority, '0', true, lane)
end
-- Most often all have ended, and no list of those is made.
local released, ended, ended_lanes = ids, ids, lanes
if next(answers) or next(going_on) then
    released, ended, ended_lanes = {}, {}, {}
    for i = 1, n do
        if answers[i] == nil then
            released[#released + 1] = ids[i]
            if not going_on[i] then
                ended[#ended + 1] = ids[i]
                ended_lanes[#ended] = lanes and lanes[i]
            end
        end
    end
end
if lanes and #ended > 0 then
    local left, left_lanes, count = ended, ended_lanes, 0
    for i = 1, #ended do
        if ended_lanes[i] then count = count + 1 end
    end
    if count > 0 and count < #ended then
        left, left_lanes, count = {}, {}, 0
        for i = 1, #ended do
            if ended_lanes[i] then
                count = count + 1
                left[count], left_lanes[count] = ended[i], ended_lanes[i]
            end
        end
    end
    if count == 0 then
        -- None of them had limits.
    elseif general or loaded then
        limits().release_all(left, left_lanes)
        loaded.forget(left)
    else
        local rest = leave_gates(left, left_lanes)
        if #rest > 0 then limits().follow_released(rest) end
        redis.call('HDEL', LANES, unpack(left))
    end
end
-- The leases are released last: if an earlier command fails, the jobs are recovered.
if #ended > 0 then redis.call('ZREM', INCOMPLETE, unpack(ended)) end
if #released > 0 then
    redis.call('HDEL', OWNERS, unpack(released))
    redis.call('ZREM', LEASES, unpack(released))
    if aborts then redis.call('HDEL', ABORTING, unpack(released)) end
end
if not next(answers) then return {} end
for i = 1, n do
    if answers[i] == nil then answers[i] = 1 end
end
return answers
