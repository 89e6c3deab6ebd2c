-- The state of the queue in one call, which costs the same however many jobs wait: of each list it looks at the first
-- entries only. Changes nothing.
-- Returns {time, jobs that have not ended, of these those whose time has come and that are in a list or run, those whose
-- time has come, leases, jobs of stock workers, start of the first job that is overdue and in no list or '', pause or '',
-- live workers, due ticks of schedules that are not paused, {worker, report, ...}, {id, JSON, ...}: the first jobs of each
-- list, {worker, its pause, ...}}.
local STEP, MOST = 100, 2000
-- Bytes of jobs of each list, after the first job.
local BYTES = 65536

local function first_of(list, found)
    local bytes, from = 0, #found
    for start = 0, MOST - 1, STEP do
        local entries = redis.call('LRANGE', list, start, start + STEP - 1)
        if #entries == 0 then return end
        -- Entries of aborted jobs may still be in the list.
        local owners = redis.call('HMGET', OWNERS, unpack(entries))
        local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(entries))
        for i, id in ipairs(entries) do
            if scores[i] == '0' and not owners[i] then
                bytes = bytes + redis.call('STRLEN', id)
                if bytes > BYTES and #found > from then return end
                found[#found + 1], found[#found + 2] = id, redis.call('GET', id) or ''
            end
        end
        if #found > from then return end
    end
end

-- Those of a schedule that is paused make no jobs; at most 1000 are looked at.
local function due_ticks()
    local due = redis.call('ZRANGEBYSCORE', TICKS, '-inf', string.format('%.6f', NOW), 'LIMIT', 0, 1000)
    if #due == 0 then return 0 end
    local count = 0
    for _, note in ipairs(redis.call('HMGET', SCHEDULES_PAUSED, unpack(due))) do
        if not note then count = count + 1 end
    end
    return count
end

local now = string.format('%.6f', NOW)
local overdue = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', now, 'WITHSCORES', 'LIMIT', 0, 1)
local jobs = {}
for _, list in ipairs({AWAITED, HIGH, QUEUED, LOW}) do first_of(list, jobs) end
-- A lane that waits at a gate waits for no worker.
if limits() then
    for level in pairs(LISTS) do
        local lane = loaded.first_ready(level)
        if lane then first_of(lane, jobs) end
    end
end
return {now,
    redis.call('ZCARD', INCOMPLETE),
    redis.call('ZCOUNT', INCOMPLETE, 0, 0),
    redis.call('ZCOUNT', INCOMPLETE, 0, now),
    redis.call('ZCARD', LEASES),
    redis.call('LLEN', ACTIVE),
    overdue[2] or '',
    redis.call('GET', PAUSED) or '',
    redis.call('ZCOUNT', STATS, string.format('%.0f', SERVER * 1000), '+inf'),
    due_ticks(),
    redis.call('HGETALL', REPORTS),
    jobs,
    redis.call('HGETALL', WORKERS_PAUSED)}
