-- Inserted after `quick_visits.lua` into the script that leases: which lanes are visited, and which way.

-- The general way, for what the short one does not know; it writes when `done` is called.
local function general()
    if loaded then
        loaded.refresh()
    else
        limits().leasing = true
    end
    loaded.together = true
    return loaded
end

local function done()
    loaded.flush()
    loaded.together = false
end

-- A job that a stock worker has moved to a list when it was due.
function flow.wait_in(id, lane)
    general().wait_in(id, lane, false)
    done()
end

-- A job that is gone leaves its lane and its gates.
function flow.leave(id, lane)
    -- This answer does not say that others may start now.
    general().leasing = false
    loaded.leave(id, lane)
    done()
end

-- How many lanes may have a job that can start.
function flow.ready()
    return redis.call('ZCARD', rings.high) + redis.call('ZCARD', rings.normal) + redis.call('ZCARD', rings.low)
end

-- When the next gate opens by itself, in epoch seconds, or nil. Only the general way changes that.
local first_opening = nil
function flow.next_opening()
    if loaded or first_opening == nil then
        first_opening = tonumber(redis.call('ZRANGE', SLEEPING, '0', '0', 'WITHSCORES')[2] or nil) or false
    end
    return first_opening or nil
end

-- Look again at gates whose time has come.
function flow.open_gates()
    local time = flow.next_opening()
    if not time or time > NOW then return end
    general().open_gates()
    done()
end

-- Whether jobs are in a list, or in lanes that may have one that can start.
function flow.any_waiting()
    return redis.call('EXISTS', HIGH, QUEUED, LOW, rings.high, rings.normal, rings.low) > 0
end

-- The priorities with jobs in their list, or in lanes that may have one that can start.
function flow.waiting_lines()
    -- Most often there are none but lanes of one priority.
    if redis.call('EXISTS', HIGH, QUEUED, LOW, rings.high, rings.low) == 0 then
        return redis.call('EXISTS', rings.normal) == 1 and {{level = 'normal', listed = false, lanes = true}} or {}
    end
    local lines = {}
    for _, level in ipairs({'high', 'normal', 'low'}) do
        local line = {level = level, listed = redis.call('LLEN', LISTS[level]) > 0, lanes = redis.call('EXISTS', rings[level]) == 1}
        if line.listed or line.lanes then lines[#lines + 1] = line end
    end
    return lines
end

-- Let jobs of lanes of a priority start, of `most` lanes or until there are enough. Returns how many lanes were visited.
local plain = nil
local function visit(level, want, ids, seen, most)
    local any_called, any_lined = false, false
    -- Most often there is nothing of all this.
    if plain == false or redis.call('EXISTS', CLOSED, EXPIRES, TAKES, MISSED, CALLED, LINED) > 0 then
        if plain == nil then plain = redis.call('EXISTS', CLOSED, EXPIRES, TAKES, MISSED) == 0 end
        any_called = plain and redis.call('EXISTS', CALLED) == 1
        any_lined = plain and redis.call('EXISTS', LINED) == 1
    end
    local quick, others = 0, most
    if plain ~= false then
        local parked, open
        quick, others, parked, open = visit_quickly(level, want - #ids, ids, seen, most, any_called, any_lined)
        if parked or open then
            general().follow(parked or {}, open or {})
            done()
        end
    end
    others = math.min(others, most - quick)
    if others == 0 or #ids >= want then return quick end
    local visited = general().visit_batch(level, want, ids, seen, others)
    done()
    return quick + visited
end

-- Whether it is the turn of the lanes of a priority, or of its list. Not from TURNS, by which priorities take turns: two
-- steps a lease would always meet the same of them.
local function begin_with_lanes(level)
    return redis.call('HINCRBY', BASE .. 'begun', level, 1) % 2 == 0
end

-- Take some jobs of the lists and of some lanes in turn, until `ids` has `want`. `consider` takes entries of a list,
-- `next_list` says which of several is next; at most so many entries and visits that find no job.
function flow.take_turns(want, ids, seen, consider, next_list, most_entries, most_visits)
    local scanned, visits, lanes_next, unused = 0, 0, {}, {}
    local TOGETHER = 8
    while #ids < want and scanned < most_entries and visits < most_visits do
        local lines = flow.waiting_lines()
        if #lines == 0 then break end
        local line = #lines == 1 and lines[1] or next_list(lines)
        if line.lanes and line.listed and lanes_next[line.level] == nil then
            lanes_next[line.level] = begin_with_lanes(line.level)
            unused[line.level] = lanes_next[line.level] or nil
        end
        if #lines == 1 and not line.listed then
            visits = visits + math.max(1, visit(line.level, want, ids, seen, most_visits - visits))
        elseif line.lanes and (lanes_next[line.level] or not line.listed) then
            local before = #ids
            visit(line.level, want, ids, seen, 1)
            visits = visits + 1
            if #ids > before then unused[line.level] = nil end
            if #lines > 1 or visits % TOGETHER == 0 then lanes_next[line.level] = false end
        else
            local most = #lines > 1 and 1 or line.lanes and TOGETHER or want
            local entries = redis.call('LPOP', LISTS[line.level], math.min(most, want - #ids))
            consider(entries)
            scanned = scanned + #entries
            lanes_next[line.level] = true
        end
    end
    -- Lanes that had no room keep their turn to begin: else they could always begin when others have their places.
    for level in pairs(unused) do begin_with_lanes(level) end
end
