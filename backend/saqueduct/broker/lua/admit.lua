-- Inserted between the prelude and the scripts that enqueue.
-- A job is a row: key, JSON, start ('0' now, '+s' seconds from now, or epoch seconds), priority, unique claim, JSON of
-- the job that it replaces, its ttl, whether it is new, for a job that is queued again when it had ended (epoch
-- milliseconds), else false, and for a job with limits {lane, names and rules, time after which it must not start or ''}. The key of a new job is random; if it already exists, this same
-- call created it, its answer was lost, and it was sent again.
-- A claim is empty, or {conflict, period in ms, ',states,', its key in Redis, key of the job that gives way (one without
-- JSON above cannot be read, and only loses its claim), mark under which the end of that one is kept until PostgreSQL knows ('' it need not), whether the job is queued once more}, and for a
-- debounced job {wait, maximum wait or 0, placeholder of the window, of the start, whether it is durable}, for one that
-- cancels the running one the gate at which both wait.
-- Loaded when the first such job is enqueued: the plain new jobs of `enqueue.lua` need none of it, and each function that a
-- script defines costs a call about 0.2 us.
local load_admit = function()
    local ABORT_PREFIX = ARGV[3]

    local function state_of(id)
        if redis.call('HEXISTS', OWNERS, id) == 1 then return 'active' end
        if redis.call('ZSCORE', INCOMPLETE, id) then return redis.call('LPOS', ACTIVE, id) and 'active' or 'queued' end
        local job = stored(id)
        if not job then return nil end
        local read, decoded = pcall(cjson.decode, job)
        return read and decoded.status or nil
    end

    -- SAQ's abort keys lack the queue's name, those of the engine have it.
    local ABORTS = 'saq:abort:' .. string.sub(PREFIX, #'saq:job:' + 1)

    local function claim_of(spec)
        local wait, gate = spec[8], nil
        if spec[1] == 'cancel' then wait, gate = nil, spec[8] end
        return {conflict = spec[1], period = spec[2], states = spec[3], id = spec[4], yields = spec[5], mark = spec[6], again = spec[7],
            gate = gate,
            debounce = wait and {wait = wait[1], longest = wait[2], window = wait[3], start = wait[4], durable = wait[5]}}
    end

    -- The key of the job that blocks a claim, or nil. A job that is queued again may still hold its own claim.
    local function holder_of(claim, own)
        local key = redis.call('GET', claim.id)
        if not key or claim.again and key == own then return nil end
        local state = state_of(PREFIX .. key)
        if state and string.find(claim.states, ',' .. state .. ',', 1, true) then return key, state end
        return nil
    end

    -- The answer for a blocking job: 4 it is being aborted; 5 the same, and a stock worker runs it; else `other`.
    local function in_the_way(id, key, other)
        if redis.call('HEXISTS', ABORTING, id) == 1 then return 4 end
        if redis.call('EXISTS', ABORT_PREFIX .. key, ABORTS .. key) > 0 then return 5 end
        return other
    end

    -- True if a job that is to be queued again has ended again since its caller read it.
    local function has_ended_since(id, ended_at)
        local read, decoded = pcall(cjson.decode, stored(id) or '')
        return read and decoded.completed and decoded.completed ~= ended_at
    end

    -- Maximum entries that one call searches for in long lists; if there are more, it removes all leftover entries: that
    -- costs as much as about a hundred searches, and no later entry needs a search.
    local SEARCHES = 20
    local searches = 0

    -- Remove all leftover entries from a list, see `withdraw`.
    local function clear_list(list)
        for first = 0, redis.call('LLEN', list) - 1, 1000 do
            local entries = redis.call('LRANGE', list, first, first + 999)
            local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(entries))
            for i, id in ipairs(entries) do
                if has_stayed(id, scores[i]) then
                    store_back(id)
                    redis.call('LSET', list, first + i - 1, 'gone')
                end
            end
        end
        redis.call('LREM', list, 0, 'gone')
    end

    -- Remove the entry of an ended job from its list, before another job with its key waits there, which would run twice.
    local function forget_entry(id)
        redis.call('DEL', aside(id))
        redis.call('LREM', AWAITED, 0, id)
        searches = searches + 1
        for _, list in pairs(LISTS) do
            local long = redis.call('LLEN', list) > SHORT
            if not long or searches <= SEARCHES then redis.call('LREM', list, 0, id) end
            if long and searches == SEARCHES then clear_list(list) end
        end
    end

    -- Store a job that will wait. The command also returns the previous value, and fails if that is not a string.
    -- False: a stock worker has taken the entry of the last job with that key, and may be about to read it: try later.
    local function put(id, job)
        local before = redis.pcall('SET', id, job, 'GET')
        if type(before) == 'table' then
            redis.call('SET', id, job)
        elseif before == '' then
            if redis.call('LREM', ACTIVE, 0, id) > 0 then
                local left = redis.call('TTL', aside(id))
                hide(id, left == -1 and '0' or left)
                return false
            end
            forget_entry(id)
        end
        return true
    end

    -- How a claim treats the job that holds it: the answer that refuses the new job or nil, and what becomes of the other:
    -- 'replaced' or 'cancelled', or nil.
    local function settle_claim(claim, holder, state)
        local newest = claim.conflict == 'cancel'
        if not holder then return nil end
        if newest and redis.call('HEXISTS', OWNERS, PREFIX .. holder) == 1 then return nil, 'cancelled' end
        if (newest or claim.conflict == 'replace') and state == 'queued' and claim.yields == holder then return nil, 'replaced' end
        if claim.conflict == 'replace' and state ~= 'queued' then return nil end
        return in_the_way(PREFIX .. holder, holder, holder)
    end

    -- End the waiting job that another one replaces.
    local function give_way(claim, job, ttl)
        local id = PREFIX .. claim.yields
        withdraw(id, job, kept(ttl))
        keep_unrecorded(claim.mark, job)
        redis.call('PUBLISH', id, 'aborted')
        deliver_one(id, job)
    end

    local debounced = nil

    -- Enqueue a job. While a job of its key waits or runs, or is being aborted, it is refused.
    -- Returns 1: enqueued; 3: enqueued in place of another; 0: a job with its key already exists; 4 or 5: blocked by one
    -- that is being aborted, see `in_the_way` and `put`; {key}: merged into that job, see `debounce.lua`; else the key of the
    -- job that holds the claim.
    local function admit(row)
        local key, job, start, priority, spec, given_way, given_way_ttl, new, ended_at, limited = unpack(row)
        local id = PREFIX .. key
        if new and redis.call('EXISTS', id) == 1 then return 1 end
        local refused, other = nil, nil
        if redis.call('ZSCORE', INCOMPLETE, id) or redis.call('EXISTS', ABORT_PREFIX .. key, ABORTS .. key) > 0 then
            refused = in_the_way(id, key, 0)
        end
        if ended_at and has_ended_since(id, ended_at) then refused = 0 end
        local claim, holder, state = nil, nil, nil
        if not refused and #spec > 0 then
            claim = claim_of(spec)
            holder, state = holder_of(claim, key)
            if claim.debounce then
                debounced = debounced or load_debounce()
                local window = holder and debounced.window_of(PREFIX .. holder)
                job, start = debounced.opened(job, claim.debounce, window)
                if holder and debounced.can_merge(PREFIX .. holder, window, claim.debounce, limited and limited[1]) then
                    return debounced.merge(holder, key, job, start, priority, limited)
                end
            end
            refused, other = settle_claim(claim, holder, state)
        end
        if refused then return refused end
        if string.sub(start, 1, 1) == '+' then start = after(string.sub(start, 2)) end
        if not put(id, job) then return 4 end
        if other == 'replaced' and given_way ~= '' then give_way(claim, given_way, given_way_ttl) end
        if other == 'cancelled' then cancel(holder, key, claim.gate) end
        if limited then
            limits(true).join(id, unpack(limited))
        elseif limits() then
            redis.call('HDEL', LANES, id)
        end
        let_wait(id, priority, start, false, limited and limited[1])
        if start ~= '0' then wake_if_first(id) end
        if claim and claim.period > 0 then
            redis.call('SET', claim.id, key, 'PX', claim.period)
        elseif claim then
            redis.call('SET', claim.id, key)
        end
        return other == 'replaced' and 3 or 1
    end

    return admit
end

local loaded_admit = nil
local function admit(row)
    loaded_admit = loaded_admit or load_admit()
    return loaded_admit(row)
end
