-- Inserted after `limits.lua` into the script that leases. The short way of visits: of lanes at the beginning of a ring from
-- which every job that is read can start. Of gates it knows what their fields say, or how many hold them. What is the same
-- for many lanes is asked and written once for all, and for each lane nothing is made but texts: functions and tables cost
-- more than most commands.

-- Lanes that are read together.
local LANES_TOGETHER = 100

local rings = {high = BASE .. 'ring:high', normal = BASE .. 'ring:normal', low = BASE .. 'ring:low'}

-- Let jobs of up to `most` lanes of a ring start, up to `want`. Returns how many lanes were visited; how many lanes follow
-- for which this is no way; lanes that have to wait, {lane, gate, time at which that opens or false, ...}; and other gates
-- that they leave open, at which lanes may wait.
local function visit_quickly(level, want, ids, seen, most)
    local ring = rings[level]
    -- Of the lane n: its name, where its fair key ends, jobs of a turn, where its gates begin in `gates`, where its entries end in
    -- `entries`, whether its list has no more, and whether one of its gates may have no more room.
    local names, key_ends, quanta, gates_at, ends, all, tight = {}, {}, {}, {}, {}, {}, {}
    local gates, gate_rules, entries = {}, {}, {}
    -- Of the gates in the order of a lane: names that they had in the last lane, with the tab, and their rules.
    local prefixes, prefix_rules = {}, {}
    -- As far as they are known: fields of gates, and arrival times of rates; and what has changed.
    local texts, arrivals = {}, {}
    local changed, moved, ready, lists = {}, {}, {}, {}
    -- Of gates with keys of their own how many hold them, and who does now; and the gates that have called lanes.
    local held, joins, callers = {}, {}, {}
    local count, jobs, others, gate_count, list_count, ready_count, moved_count = 0, 0, 0, 0, 0, 0, 0
    -- Whether lanes have a gate in common, and gates have keys of their own.
    local shared, any_held = false, false
    local any_called = redis.call('EXISTS', CALLED) == 1
    -- Else all fair lanes of the ring are alone with their key.
    local any_lined = redis.call('EXISTS', LINED) == 1
    local each = 2
    while jobs < want and count < most and others == 0 do
        local chunk = math.min(math.ceil((want - jobs) / each), most - count, LANES_TOGETHER)
        local page = redis.call('ZRANGE', ring, count, count + chunk - 1)
        local size = #page
        if size == 0 then break end
        -- A fair lane has one job a turn, most often.
        if each == 2 and size == chunk and chunk > 1 and select(2, shape_of(page[1])) == 1 and chunk < most - count then
            each, chunk = 1, math.min(want - jobs, most - count, LANES_TOGETHER)
            page = redis.call('ZRANGE', ring, count, count + chunk - 1)
            size = #page
        end
        local unread, rates, unread_count, rate_count = {}, {}, 0, 0
        for i = 1, size do
            local lane, n, place = page[i], count + i, 0
            local from, quantum, key_end = shape_of(lane)
            names[n], key_ends[n], quanta[n], gates_at[n] = lane, key_end, quantum, gate_count + 1
            local length = #lane
            while from <= length do
                local stop = find(lane, '\n', from, true) or length + 1
                local gate = sub(lane, from, stop - 1)
                place = place + 1
                local prefix, rule = prefixes[place], nil
                if prefix and sub(lane, from, from + #prefix - 1) == prefix then
                    rule = prefix_rules[place]
                else
                    rule = rule_of(gate)
                    local tab = find(gate, '\t', 1, true)
                    prefixes[place], prefix_rules[place] = tab and sub(gate, 1, tab), rule
                end
                gate_count = gate_count + 1
                gates[gate_count], gate_rules[gate_count] = gate, rule
                if texts[gate] == nil then
                    unread_count = unread_count + 1
                    texts[gate], unread[unread_count] = false, gate
                    if rule.kind == 'r' then
                        rate_count = rate_count + 1
                        rates[rate_count] = gate
                    end
                else
                    shared = true
                end
                from = stop + 1
            end
        end
        gates_at[count + size + 1] = gate_count + 1
        if unread_count > 0 then
            local found = redis.call('HMGET', GATES, unpack(unread))
            for i = 1, unread_count do
                local text = found[i]
                if text then
                    local gate = unread[i]
                    texts[gate] = text
                    if text == SPILLED and rule_of(gate).kind ~= 'r' then
                        held[gate], any_held = redis.call('SCARD', BASE .. 'held:' .. gate), true
                    end
                end
            end
        end
        if rate_count > 0 then
            local stored = redis.call('HMGET', RATES, unpack(rates))
            for i = 1, rate_count do
                local time = stored[i] and tonumber(stored[i])
                arrivals[rates[i]] = time and time > NOW and time or NOW
            end
        end
        local firsts = nil
        if any_lined then
            local keys = {}
            for i = 1, size do keys[i] = key_ends[count + i] and sub(page[i], 1, key_ends[count + i]) or '' end
            firsts = redis.call('HMGET', FAIR, unpack(keys))
        end
        local notes = any_called and redis.call('HMGET', CALLED, unpack(page))
        local before = count
        for i = 1, size do
            if jobs >= want then break end
            local n, lane = before + i, page[i]
            -- How many jobs may start; 0: this is no way for the lane.
            local free, first, last = quanta[n], gates_at[n], gates_at[n + 1] - 1
            if free > want - jobs then free = want - jobs end
            if firsts and key_ends[n] and firsts[i] ~= lane then free = 0 end
            if notes and notes[i] then
                callers[n] = string.match(notes[i], '^%S+ (.*)$')
                if rule_of(callers[n]).kind == 'r' then free = 0 end
            end
            -- The least room, and whether fields say who holds a gate.
            local least, written = free + 1, false
            for j = first, last do
                local gate, rule = gates[j], gate_rules[j]
                local text, room = texts[gate], 0
                if rule.kind == 'r' then
                    -- Else it has been no rate before, and its field still says who has a slot or a turn.
                    if not text then
                        local ahead = arrivals[gate] - NOW
                        -- Else further ahead than a full burst: the limit was changed, or the clock went back.
                        if ahead <= rule.longest then room = math.floor((rule.slack - ahead) / rule.step + 0.000001) + 1 end
                    end
                elseif not text then
                    room = rule.packed
                elseif text == SPILLED then
                    if rule.kind ~= 'o' then room = rule.limit - held[gate] end
                else
                    room, written = rule.packed + ZERO - byte(text), true
                end
                if room < least then least = room end
            end
            if least < free then free = least end
            -- It is only counted how many follow for which there is another way.
            if others > 0 and free > 0 then break end
            local list, got, taken, added = lane_base .. lane, 0, nil, nil
            if free == 1 then
                local id = redis.call('LPOP', list)
                if id then
                    got, added = 1, '\n' .. id
                    if written or find(id, '\n', 1, true) then taken = {id} end
                    entries[jobs + 1] = id
                end
            elseif free > 1 then
                taken = redis.call('LPOP', list, DIGITS[free] or free) or nil
                got, added = taken and #taken or 0, ''
                for j = 1, got do
                    added = added .. '\n' .. taken[j]
                    entries[jobs + j] = taken[j]
                end
            end
            local fits = true
            for k = 1, taken and got or 0 do
                fits = fits and not find(taken[k], '\n', 1, true)
                for j = first, written and last or 0 do
                    local text = texts[gates[j]]
                    fits = fits and not (text and find(text, taken[k], 2, true))
                end
            end
            if not fits then
                for k = got, 1, -1 do
                    redis.call('LPUSH', list, taken[k])
                    entries[jobs + k] = nil
                end
                got = 0
            end
            if got == 0 then
                others = others + 1
            else
                for j = first, last do
                    local gate = gates[j]
                    local text = texts[gate]
                    if not text then
                        local rule = gate_rules[j]
                        if rule.kind == 'r' then
                            moved_count = moved_count + 1
                            arrivals[gate], moved[gate] = arrivals[gate] + got * rule.step, true
                        else
                            text = DIGITS[got] .. added .. '\n\n'
                            texts[gate], changed[gate] = text, text
                        end
                    elseif text == SPILLED then
                        held[gate] = held[gate] + got
                    else
                        local stop = find(text, '\n\n', 2, true)
                        local tail = #text
                        -- The turn of this lane, which the gate has called, is used up.
                        if tail > stop + 1 and byte(text, stop + 2) ~= WAITS and sub(text, find(text, ' ', stop + 3, true) + 1) == lane then
                            tail = stop + 1
                        end
                        text = DIGITS[byte(text) - ZERO + got] .. sub(text, 2, stop - 1) .. added .. sub(text, stop, tail)
                        texts[gate], changed[gate] = text, text
                    end
                end
                jobs = jobs + got
                count, ends[n] = n, jobs
                if least <= got then tight[n] = true end
                if got < free then
                    all[n] = true
                else
                    list_count = list_count + 1
                    lists[list_count] = list
                end
            end
        end
        if size < chunk then break end
        each = math.max(1, jobs / math.max(1, count))
    end
    if count == 0 then return 0, others, {}, {} end
    redis.call('ZREMRANGEBYRANK', ring, '0', count - 1)

    -- Which lists have more entries than were taken: most often all or none.
    local existing = list_count > 0 and redis.call('EXISTS', unpack(lists)) or 0
    local mixed = existing > 0 and existing < list_count

    -- The first are what is done with the lane n; entries that another script has taken, or that have one before, see
    -- `kinds_of`, do not start after all.
    local owners = redis.call('HMGET', OWNERS, unpack(entries))
    local scores = redis.call('ZMSCORE', INCOMPLETE, unpack(entries))
    local lanes = redis.call('HMGET', LANES, unpack(entries))
    local parked, open, opened, places, turns_now = {}, {}, {}, {}, {}
    local at, total = 1, #ids
    for n = 1, count do
        local lane, stop = names[n], ends[n]
        while at <= stop do
            local id = entries[at]
            if scores[at] == '0' and not owners[at] and lanes[at] == lane and not seen[id] then
                seen[id] = true
                total = total + 1
                ids[total] = id
                for j = gates_at[n], any_held and gates_at[n + 1] - 1 or 0 do
                    local gate = gates[j]
                    if held[gate] then
                        local members = joins[gate] or {}
                        joins[gate], members[#members + 1] = members, id
                    end
                end
            else
                for j = gates_at[n], gates_at[n + 1] - 1 do
                    local gate, rule = gates[j], gate_rules[j]
                    if rule.kind == 'r' then
                        arrivals[gate] = math.max(NOW, arrivals[gate] - rule.step)
                    elseif held[gate] then
                        held[gate] = held[gate] - 1
                    else
                        local text = texts[gate]
                        local from, to = find(text, '\n' .. id .. '\n', 2, true)
                        text = DIGITS[byte(text) - ZERO - 1] .. sub(text, 2, from - 1) .. sub(text, to)
                        texts[gate], changed[gate] = text, text
                    end
                end
            end
            at = at + 1
        end
        local more = existing > 0 and not all[n] and (not mixed or redis.call('EXISTS', lane_base .. lane) == 1)
        -- The first gate that has no room for another job.
        local full, opens = nil, false
        if more and (tight[n] or shared) then
            for j = gates_at[n], gates_at[n + 1] - 1 do
                local gate, rule = gates[j], gate_rules[j]
                if rule.kind == 'r' then
                    local slack = rule.slack - (arrivals[gate] - NOW)
                    if slack < -0.000001 then
                        full, opens = gate, NOW - slack
                        break
                    end
                elseif (held[gate] or byte(texts[gate]) - ZERO) >= rule.limit then
                    full = gate
                    break
                end
            end
        end
        if more and not full then
            ready[ready_count + 1], ready[ready_count + 2] = next_turn(), lane
            ready_count = ready_count + 2
        else
            if key_ends[n] then turns_now[sub(lane, 1, key_ends[n])] = false end
            if not more then
                places[lane] = false
            else
                local text = texts[full]
                if opens or byte(text, -1) ~= 10 then
                    parked[#parked + 1], parked[#parked + 2], parked[#parked + 3] = lane, full, opens
                else
                    text = text .. 'w' .. RANKS[level] .. next_turn() .. ' ' .. lane
                    texts[full], changed[full] = text, text
                end
            end
            for j = gates_at[n], gates_at[n + 1] - 1 do
                local gate = gates[j]
                local text = texts[gate]
                if gate ~= full and text and byte(text, -1) ~= 10 and not opened[gate] then
                    opened[gate] = true
                    if text ~= SPILLED or redis.call('EXISTS', BASE .. 'waiters:' .. gate) == 1 then open[#open + 1] = gate end
                end
            end
        end
    end
    for gate, text in pairs(changed) do
        if text == '0\n\n' then changed[gate] = false end
    end
    write_fields(GATES, changed)
    for gate, members in pairs(joins) do redis.call('SADD', BASE .. 'held:' .. gate, unpack(members)) end
    -- The turns of lanes that gates have called are used up.
    for n, gate in pairs(callers) do
        if n <= count then
            redis.call('HDEL', CALLED, names[n])
            redis.call('ZREM', BASE .. 'called:' .. gate, names[n])
        end
    end
    if moved_count > 0 then
        -- Many rates that were at rest get the same time: to make text of it takes longer than to store it.
        local text_of, text = nil, nil
        for gate in pairs(moved) do
            local time = arrivals[gate]
            if time ~= text_of then text_of, text = time, string.format('%.6f', time) end
            moved[gate] = text
        end
        write_fields(RATES, moved)
        moved_rates(moved_count)
    end
    if next(places) then write_fields(PLACES, places) end
    if next(turns_now) then write_fields(FAIR, turns_now) end
    if ready_count > 0 then redis.call('ZADD', ring, unpack(ready)) end
    return count, others, parked, open
end

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

-- When the next gate opens by itself, in epoch seconds, or nil.
function flow.next_opening()
    return tonumber(redis.call('ZRANGE', SLEEPING, '0', '0', 'WITHSCORES')[2] or nil)
end

-- Look again at gates whose time has come.
function flow.open_gates()
    local time = flow.next_opening()
    if not time or time > NOW then return end
    general().open_gates()
    done()
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
    if plain == nil then plain = redis.call('EXISTS', CLOSED, EXPIRES, TAKES, MISSED) == 0 end
    local quick, others = 0, most
    if plain then
        local parked, open
        quick, others, parked, open = visit_quickly(level, want - #ids, ids, seen, most)
        if #parked + #open > 0 then
            general().follow(parked, open)
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
