-- Write the outcomes of many jobs, each only if its lease still holds. ARGV: 4 '1' to accept only leases that have
-- run out (recovery), else '0'; 5 in MessagePack groups {how, {key, JSON, key, JSON, ...}} of jobs that have their outcome
-- in common: kind, lease ('' a stock worker's, or none), status, ttl or delay, priority, unique claim to release, or of a
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
local ids, keys, jobs, hows, n = {}, {}, {}, {}, 0
for _, group in ipairs(cmsgpack.unpack(ARGV[5])) do
    local how, parts = group[1], group[2]
    -- Once for the whole group, not for each job.
    if how[1] == 'finish' then how[4] = kept(how[4]) end
    for i = 1, #parts, 2 do
        n = n + 1
        ids[n], keys[n], jobs[n], hows[n] = PREFIX .. parts[i], parts[i], parts[i + 1], how
    end
end
local heard = listened(ids)
local aborts = redis.call('EXISTS', ABORTING) == 1 and redis.call('HMGET', ABORTING, unpack(ids))
local stock = redis.call('EXISTS', ACTIVE) == 1
local inboxes = redis.call('EXISTS', WAITERS) == 1 and redis.call('HMGET', WAITERS, unpack(ids))
local owners = redis.call('HMGET', OWNERS, unpack(ids))
local deadlines = ARGV[4] == '1' and redis.call('ZMSCORE', LEASES, unpack(ids))
local lanes = uses_limits() and redis.call('HMGET', LANES, unpack(ids))
-- What the short way does not know.
local general = lanes and redis.call('EXISTS', BASE .. 'closed', BASE .. 'expires', BASE .. 'missed', TAKES) > 0
local takes = general and limits().takers(ids)
local settled = {}

local function holds(i, lease)
    if lease == '' and owners[i] then return false end
    if lease ~= '' and owners[i] ~= lease and not is_held(owners[i], lease) then return false end
    -- Of two outcomes under one lease the first counts.
    if settled[ids[i]] and lease ~= '' then return false end
    settled[ids[i]] = true
    return not deadlines or (deadlines[i] and tonumber(deadlines[i]) <= SERVER)
end

local answers, released, ended, left, left_lanes, all = {}, {}, {}, {}, {}, true
local released_count, ended_count, left_count = 0, 0, 0
-- Jobs that go back to the front, to be pushed there from the last to the first, so that they keep their order.
local fronts = {}
local how, kind, lease, status, number, priority, claim, mark, gate, seconds, expires
for i = 1, #ids do
    local id = ids[i]
    if hows[i] ~= how then
        how = hows[i]
        kind, lease, status, number, priority, claim, mark, gate, seconds, expires = unpack(how)
    end
    local held = holds(i, lease)
    if held and gate then limits(true).close(gate, tonumber(seconds)) end
    if not held then
        answers[i], all = 0, false
    elseif kind ~= 'finish' and aborts and aborts[i] then
        answers[i], all = aborts[i], false
    elseif kind ~= 'finish' and claim ~= '' and redis.call('GET', claim) ~= keys[i] then
        answers[i], all = {redis.call('GET', claim) or ''}, false
    else
        if takes and takes[i] then loaded.give_all(id) end
        if kind == 'finish' then
            store(id, jobs[i], number)
            if mark ~= '' then keep_unrecorded(mark, jobs[i]) end
            ended_count = ended_count + 1
            ended[ended_count] = id
            if claim ~= '' then give_up(claim, keys[i]) end
            if lanes and lanes[i] then
                left_count = left_count + 1
                left[left_count], left_lanes[left_count] = id, lanes[i]
            end
            if inboxes and inboxes[i] then deliver(id, inboxes[i], number ~= '-1' and jobs[i] or '') end
        else
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
        released_count = released_count + 1
        released[released_count] = id
        if heard == nil or heard[id] then notify(heard, id, status) end
        answers[i] = 1
    end
end
for i = #fronts, 1, -1 do
    local id, priority, lane = unpack(fronts[i])
    let_wait(id, priority, '0', true, lane)
end
if #left > 0 then
    if general or loaded then
        limits().release_all(left, left_lanes)
        loaded.forget(left)
    else
        flow = flow or load_flow()
        local rest = flow.release(left, left_lanes)
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
return all and {} or answers
