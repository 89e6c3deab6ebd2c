-- Lease jobs to a worker. ARGV: 4 how many at most, 5 the worker, 6 seconds the leases last, 7 jobs that the worker
-- has (0 by default), 8 the number of the call (0 by default), 9 the token of one that has waited for a job.
-- Higher priorities go first; every tenth turn goes to a lower one, so that none starves.
-- A paused queue leases nothing.
-- If there are fewer jobs than slots of all workers, each worker gets an equal share: a job that keeps
-- its event loop busy would delay those leased with it, while other workers are idle. It always gets at least one.
-- Returns {time, seconds until the next is due or '', 'more' if others wait in a list, 'shared' if they are left for
-- other workers, 'paused', or '', lease, {id, id, ...}, {JSON, JSON, ...}}.
-- A command has 8,000 arguments at most, and some have two a job.
local MOST = 2000
local want, worker = math.min(tonumber(ARGV[4]), MOST), ARGV[5]
local SHARE = 10

-- Members up to which Redis keeps a sorted set as a list, and fields of a hash, see LONG (zset-max-listpack-entries,
-- hash-max-listpack-entries).
local LONGEST_SET, LONGEST_HASH = 128, 512

local SCAN = want + 1000

-- Visits of lanes that may find none of their jobs.
local VISITS = want + 64

local ids, seen, scanned = {}, {}, 0
local limited = uses_limits()
if limited then flow = load_flow() end

-- An entry counts only if its job is due and no worker has it: entries of aborted jobs may still be in the list.
local function consider(entries)
    scanned = scanned + #entries
    local owners = redis.call('HMGET', OWNERS, unpack(entries))
    local scores = redis.call('GEOHASH', INCOMPLETE, unpack(entries))
    local lanes = limited and redis.call('HMGET', LANES, unpack(entries))
    local count = #ids
    for i = 1, #entries do
        local id = entries[i]
        if lanes and lanes[i] and scores[i] == NO_DELAY and not owners[i] then
            -- A stock worker has moved it here when it was due.
            flow.wait_in(id, lanes[i])
        elseif scores[i] == NO_DELAY and not owners[i] and not seen[id] then
            seen[id] = true
            count = count + 1
            ids[count] = id
        elseif has_stayed(id, scores[i]) then
            store_back(id)
        end
    end
end

local function waiting()
    local lists = {}
    for _, list in ipairs({HIGH, QUEUED, LOW}) do
        if redis.call('LLEN', list) > 0 then lists[#lists + 1] = list end
    end
    return lists
end

local function next_list(lists)
    local turn = redis.call('INCR', TURNS)
    if turn % SHARE ~= 0 then return lists[1] end
    -- Alternate between the second and the last, or the middle one would starve.
    if (turn / SHARE) % 2 == 0 then return lists[2] end
    return lists[#lists]
end

put_back()
-- It has woken this worker, and is no longer needed.
if redis.call('LINDEX', QUEUED, 0) == WAKE then redis.call('LPOP', QUEUED) end

local paused = redis.call('EXISTS', PAUSED) == 1
-- A worker that is stopping may not receive the answer with its leases.
local closed = paused or ARGV[9] and redis.call('SISMEMBER', LEAVING, ARGV[9]) == 1

-- The live workers are in SAQ's statistics, by the epoch milliseconds until which their report counts, see `report.lua`.
local shared = false
local workers = redis.call('ZCOUNT', STATS, string.format('%.0f', SERVER * 1000), '+inf')
if workers > 1 then
    local line = redis.call('LLEN', HIGH) + redis.call('LLEN', QUEUED) + redis.call('LLEN', LOW)
    if limited then line = line + flow.ready() end
    local each = math.ceil((line + redis.call('ZCARD', LEASES)) / workers)
    local share = math.max(1, each - tonumber(ARGV[7] or 0))
    shared = share < want and line > share
    want = math.min(want, share)
end

if limited then flow.open_gates() end
if limited and not closed then flow.take_turns(want, ids, seen, consider, next_list, SCAN, VISITS) end
while not limited and not closed and #ids < want and scanned < SCAN do
    local lists = waiting()
    if #lists == 0 then break end
    if #lists == 1 then
        consider(redis.call('LPOP', lists[1], want - #ids))
    else
        consider({redis.call('LPOP', next_list(lists))})
    end
end

local left = limited and flow.any_waiting() or not limited and #waiting() > 0
-- Workers wait at the normal list: wake the next one if jobs are left in another list.
if left and workers > 1 and not paused then wake() end

local due = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local opening = limited and flow.next_opening()
if opening then due[2] = math.min(opening, tonumber(due[2] or opening)) end
-- Of more than 64 bytes, see LONG. The number of the call and the time, see `lost_leases.py`.
local lease = string.format('%s|%0' .. math.max(1, 48 - #worker) .. '.0f%016.0f', worker, tonumber(ARGV[8] or 0), SERVER * 1000000)
local answer = {tostring(math.floor(NOW * 1000)), due[2] and string.format('%.6f', tonumber(due[2]) - NOW) or '',
    paused and 'paused' or left and (shared and #ids > 0 and 'shared' or 'more') or '', lease}
if #ids == 0 then return answer end

local jobs = redis.call('MGET', unpack(ids))
local heard = listened(ids)
local deadline = deadline_in(ARGV[6])
-- Most often none is missing, and no list of the others is made.
local there, n = ids, #ids
for i = 1, n do
    local id = ids[i]
    if not jobs[i] then
        -- Evicted or deleted by hand: nothing to run.
        redis.call('ZREM', INCOMPLETE, id)
        local lane = limited and redis.call('HGET', LANES, id)
        if lane then flow.leave(id, lane) end
        there = nil
    elseif heard ~= false then
        notify(heard, id, 'active')
    end
end
if not there then
    local stored = {}
    there = {}
    for i = 1, n do
        if jobs[i] then there[#there + 1], stored[#stored + 1] = ids[i], jobs[i] end
    end
    jobs, n = stored, #there
end
answer[5], answer[6] = there, jobs
if n > 0 then
    -- Of the two commands: {time, id, time, id, ...}, and from its second value on {id, lease, id, lease, ...}.
    local values, many = {}, n >= AS_TABLE_FROM
    for i = 1, n do values[2 * i - 1], values[2 * i] = deadline, there[i] end
    if many then
        values[2 * n + 1], values[2 * n + 2] = '0', LONG
        if redis.call('ZCARD', INCOMPLETE) <= LONGEST_SET then
            redis.call('ZADD', INCOMPLETE, '0', LONG)
            redis.call('ZREM', INCOMPLETE, LONG)
        end
        if limited and redis.call('HLEN', LANES) <= LONGEST_HASH then
            redis.call('HSET', LANES, LONG, '')
            redis.call('HDEL', LANES, LONG)
        end
    end
    redis.call('ZADD', LEASES, unpack(values))
    for i = 3, 2 * n + 1, 2 do values[i] = lease end
    redis.call('HSET', OWNERS, unpack(values, 2, 2 * n + 1))
    if many then redis.call('ZREM', LEASES, LONG) end
end
return answer
