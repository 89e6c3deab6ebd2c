-- Inserted before `admit.lua`. A call of a debounced task waits for further calls, and takes the place of one that waits.
-- Its job is text with placeholders, see `debounced.py`, and has a random key. A window is what the waiting job has of its
-- calls: {first: time of the first, calls: how many, durable}.
local load_debounce = function()
    local DEBOUNCE, DURABLE = 'saqueduct.debounce', 'saqueduct.durable'

    -- Replace a text that is no pattern. The placeholders are random, and so are the keys of debounced jobs.
    local function replaced(job, before, after_that)
        return (string.gsub(job, string.gsub(before, '%p', '%%%0'), after_that))
    end

    -- The window of a job that waits, and the job; nil if it has begun before, and waits for its next attempt.
    local function window_of(id)
        local read, job = pcall(cjson.decode, redis.call('MGET', id)[1] or '')
        if not read or type(job) ~= 'table' or type(job.meta) ~= 'table' then return nil end
        local entry = job.meta[DEBOUNCE]
        if type(entry) ~= 'table' or not entry[4] or job.attempts or job.touched then return nil end
        return {first = entry[3], calls = entry[4], durable = job.meta[DURABLE]}
    end

    -- A job with its placeholders filled in, and its start. `window`: of the calls before, or nil.
    local function opened(job, debounce, window)
        local first, calls = window and window.first or NOW, window and window.calls or 0
        local start = NOW + debounce.wait
        if debounce.longest > 0 then start = math.min(start, first + debounce.longest) end
        start = string.format('%.6f', start)
        job = replaced(job, debounce.window, string.format('%.6f,%.0f', first, calls + 1))
        return replaced(job, debounce.start, start), start
    end

    -- Whether a call can be merged into the job that waits, which then keeps its key. Durable jobs are replaced instead,
    -- because PostgreSQL has each of them; so is one that is due and waits in the line of other limits.
    local function can_merge(id, window, debounce, lane)
        if not window or window.durable or debounce.durable then return false end
        if redis.call('ZSCORE', INCOMPLETE, id) ~= '0' then return true end
        return not limits() or (redis.call('HGET', LANES, id) or nil) == lane
    end

    -- Merge a call into the job that waits. If that is due already, it starts as soon as a worker is free.
    local function merge(holder, key, job, start, priority, limited)
        local id = PREFIX .. holder
        redis.call('SET', id, replaced(job, key, holder))
        if limits() then redis.call('HDEL', LANES, id) redis.call('HDEL', BASE .. 'expires', id) end
        if limited then limits(true).join(id, unpack(limited)) end
        if redis.call('ZSCORE', INCOMPLETE, id) ~= '0' then
            redis.call('HDEL', LEVELS, id)
            let_wait(id, priority, start, false)
            wake_if_first(id)
        end
        return {holder}
    end

    return {window_of = window_of, opened = opened, can_merge = can_merge, merge = merge}
end
