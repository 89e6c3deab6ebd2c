-- Prepended to every script: a queue's clock, and what several scripts use. A script gets those of these functions and names
-- that it uses, and of the keys of the queue too, which have their names in `keys.py`: see `scripts.py`.
-- ARGV: 1 prefix of job ids; 2 seconds that a test's clock is ahead of the server's, 0 but in tests; 3 prefix of the abort
-- keys of stock SAQ. Only the server's clock counts, never the caller's.
-- The ids of jobs are not declared as KEYS, because they come from the lists; in a cluster they have the queue's name as a
-- hash tag, and so are in the slot of its other keys.
local PREFIX = ARGV[1]
local clock = redis.call('TIME')
local SERVER = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local NOW = SERVER + tonumber(ARGV[2])
local LISTS = {normal = QUEUED, high = HIGH, low = LOW}

-- An entry of the normal list that is not a job: it wakes a worker that waits there.
local WAKE = 'wake'

-- A member of a sorted set or a field of a hash of more than 64 bytes: with one, Redis keeps it as a table from then on,
-- until it is empty. A short one is a list, through which Redis goes for each member from its beginning, which costs more
-- than all else from some 20 members on (zset-max-listpack-value, hash-max-listpack-value; before Redis 7 -ziplist-).
-- Added and removed again by a script that moves at least this many jobs.
local LONG, AS_TABLE_FROM = '-----------------------------------------------------------------', 8

-- The score 0 of a member, as GEOHASH says it. It is a short text made of the bits of the score, and differs for all times
-- but the first seconds of 1970. ZMSCORE says the score itself, but before Redis 7.2 prints each as a floating-point number,
-- which costs a tenth of a lease.
local NO_DELAY = '00bh0hbj200'

-- An abort removes its entry from a list up to this length; in a longer one the entry stays, and is skipped when
-- its turn comes, because the search would cost more than the lease (about 0.2 ms at 10,000 entries).
local SHORT = 10000

-- Seconds to remember that an entry stayed in its list, if its removal is not noticed: a week.
local ENTRY_KEPT = 604800

-- A Redis whose memory is full refuses commands that may take more (HSET, ZADD, SET, RPUSH, LMOVE, ...), but only as the
-- first write of a script: a script that has written runs to its end. So a script that adds new work begins with one of
-- these, and fails as a whole; one that continues existing work begins with a write that is never refused, and that
-- changes nothing.
local function even_when_full()
    redis.call('ZREM', LEASES, '')
end

-- Fails when Redis is full; changes nothing.
local function unless_full()
    redis.call('SETRANGE', PAUSED, 0, '')
end

-- Store who paused it and why (JSON), after the time; if it is already paused, the time does not change.
local function pause_note(current, details)
    return (current and string.match(current, '^[%d.]+') or string.format('%.6f', NOW)) .. ' ' .. details
end

local function wake()
    if redis.call('LLEN', QUEUED) == 0 then redis.call('RPUSH', QUEUED, WAKE) end
end

-- Put entries back whose arrival has woken a worker, see `waiting.py`: it leases now, or is gone.
local function put_back()
    while redis.call('LMOVE', AWAITED, QUEUED, 'RIGHT', 'LEFT') do end
end

-- The functions for jobs with limits, see `limits.lua`; nil while the queue has no such job, which costs one EXISTS a call,
-- no lane, in which aborted ones may have left entries, and no job that takes a limit.
-- `needed`: this call adds the first.
local load_flow, flow, loaded, has_limits = nil, nil, nil, nil
local BASE = string.sub(LANES, 1, -#'lanes' - 1)
local PLACES, TAKES = BASE .. 'places', BASE .. 'takes'
local function uses_limits()
    if has_limits == nil then has_limits = redis.call('EXISTS', LANES, PLACES, TAKES) > 0 end
    return has_limits
end

local function limits(needed)
    if not loaded and (needed or uses_limits()) then
        flow = flow or load_flow()
        loaded, has_limits = flow.general(), true
    end
    return loaded
end

-- Let a job wait: until `start` (epoch seconds), or now ('0') in its lane or else in its list, at the end or at the front.
local function let_wait(id, priority, start, front, lane)
    redis.call('ZADD', INCOMPLETE, start, id)
    if start ~= '0' then
        if priority ~= 'normal' then redis.call('HSET', LEVELS, id, priority) end
        return
    end
    if lane then return limits().wait_in(id, lane, front) end
    redis.call(front and 'LPUSH' or 'RPUSH', LISTS[priority], id)
    if priority ~= 'normal' then wake() end
end

-- Wake a worker when the job that waits for its time is now the first to come due: it learns when that is.
local function wake_if_first(id)
    local first = redis.call('ZRANGEBYSCORE', INCOMPLETE, '(0', '+inf', 'LIMIT', 0, 1)
    if first[1] == id then wake() end
end

-- When a lease runs out that lasts so long, less the rest of that second: a short zset compares and keeps whole numbers
-- in a third of the time of others. As text, or a number would be made one for each job.
local function deadline_in(seconds)
    return string.format('%.0f', math.floor(SERVER + tonumber(seconds)))
end

local function after(seconds)
    return string.format('%.6f', NOW + tonumber(seconds))
end

-- Which of these channels have listeners, false if none has, or nil if it is not known; PUBLISH has a cost, and most jobs have
-- no listener. Where the server has few channels, to read their names costs less than to look for each of these. How many it
-- has is looked up once in 10 seconds, because it decides only about the way; if the server does not say, they count as many.
local function listened(channels)
    local count = #channels
    if count == 0 or redis.call('PUBSUB', 'NUMPAT') > 0 then return nil end
    local heard, known = {}, count >= 8 and redis.call('GET', CHANNELS)
    if count >= 8 and not known then
        local info = redis.pcall('INFO', 'stats')
        local from = type(info) == 'string' and string.find(info, 'pubsub_channels:', 1, true)
        known = from and string.match(info, '%d+', from) or 'many'
        redis.call('SET', CHANNELS, known, 'EX', '10')
    end
    if known and (tonumber(known) or math.huge) <= 2 * count then
        local names = redis.call('PUBSUB', 'CHANNELS', string.gsub(PREFIX, '[][*?\\]', '\\%0') .. '*')
        for i = 1, #names do heard[names[i]] = true end
    else
        local counts = redis.call('PUBSUB', 'NUMSUB', unpack(channels))
        for i = 1, #counts, 2 do
            if counts[i + 1] > 0 then heard[counts[i]] = true end
        end
    end
    return next(heard) and heard or false
end

local function notify(heard, id, status)
    if heard == nil or heard and heard[id] then redis.call('PUBLISH', id, status) end
end

-- Seconds: more than a hundred years means without limit; Redis does not accept such a time.
local LONGEST = 3155760000

-- Send the outcome of a job to the channels that wait for it, see `await.lua`; '' if the outcome is not kept. The length
-- of the id comes before it: keys may contain any character.
local function deliver(id, inboxes, job)
    for inbox in string.gmatch(inboxes, '%S+') do redis.call('PUBLISH', inbox, #id .. '\n' .. id .. job) end
    redis.call('HDEL', WAITERS, id)
end

local function deliver_one(id, job)
    local inboxes = redis.call('HGET', WAITERS, id)
    if inboxes then deliver(id, inboxes, job) end
end

-- How long a job is kept, as text, which is cheaper to pass to Redis than a number: seconds, '0' without limit, '-1' not
-- at all.
local function kept(ttl)
    ttl = math.ceil(tonumber(ttl))
    if ttl < 0 then return '-1' end
    return (ttl == 0 or ttl > LONGEST) and '0' or string.format('%.0f', ttl)
end

local function store(id, job, seconds)
    if seconds == '-1' then
        redis.call('DEL', id)
    elseif seconds == '0' then
        redis.call('SET', id, job)
    else
        redis.call('SET', id, job, 'EX', seconds)
    end
end

-- Keep how a job has ended until PostgreSQL has it, see `unrecorded.py`; '' not needed.
local function keep_unrecorded(mark, job)
    if mark ~= '' then redis.call('HSET', UNRECORDED, mark, string.format('%.0f ', math.floor(SERVER)) .. job) end
end

-- Release the claim of a unique job that has ended, unless another job has claimed it.
local function give_up(claim, key)
    if claim ~= '' and redis.call('GET', claim) == key then redis.call('DEL', claim) end
end

-- Where it is kept how a job has ended whose entry has stayed in its list.
local function aside(id)
    return 'saq:' .. string.sub(id, #'saq:job:' + 1, #PREFIX) .. 'aborted:' .. string.sub(id, #PREFIX + 1)
end

-- The stored data of a job.
local function stored(id)
    local job = redis.call('GET', id)
    if job == '' then return redis.call('GET', aside(id)) end
    return job
end

-- Hide an ended job whose entry has stayed in its list, for as long as its outcome is kept: a stock worker runs any job
-- that it finds, and treats an empty text as no job.
local function hide(id, seconds)
    if seconds == '0' then
        redis.call('SET', id, '')
    else
        redis.call('SET', id, '', 'EX', math.max(tonumber(seconds), ENTRY_KEPT))
    end
end

-- Whether an entry of a list is that of a job which was aborted and left it there; `score`: its score in INCOMPLETE, or false.
local function has_stayed(id, score)
    return not score and string.sub(id, 1, #PREFIX) == PREFIX and redis.call('MGET', id)[1] == ''
end

-- Such an entry has left its list: store the outcome of the job at its usual key.
local function store_back(id)
    if redis.call('EXISTS', aside(id)) == 1 then
        redis.call('RENAME', aside(id), id)
    else
        redis.call('DEL', id)
    end
end

-- End a waiting job: remove it from its list, and keep its outcome for the given time, see `kept`.
local function withdraw(id, job, seconds)
    redis.call('ZREM', INCOMPLETE, id)
    redis.call('HDEL', LEVELS, id)
    local lane = limits() and redis.call('HGET', LANES, id)
    local removed, long = lane and loaded.withdraw(id, lane) or 0, false
    if removed > 0 then return store(id, job, seconds) end
    removed = redis.call('LREM', AWAITED, 0, id)
    for _, list in pairs(LISTS) do
        if redis.call('LLEN', list) <= SHORT then
            removed = removed + redis.call('LREM', list, 0, id)
        else
            long = true
        end
    end
    -- Its entry may have been what wakes a worker, also for jobs in lanes.
    if loaded then wake() end
    if long and removed == 0 then
        store(aside(id), job, seconds)
        hide(id, seconds)
    else
        store(id, job, seconds)
    end
end

-- Whether a lease still holds: also one that its worker has offered to others, until another worker takes it, or whose
-- job was to run alone and did not.
local function is_held(owner, lease)
    return owner == lease or owner == lease .. '|stalled' or owner == lease .. '|hung' or owner == lease .. '|alone'
end
