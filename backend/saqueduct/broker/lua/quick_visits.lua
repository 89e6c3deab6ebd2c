-- Inserted before `visits.lua` into the script that leases. The short way of visits: of lanes at the beginning of a ring from
-- which every job that is read can start. Of gates it knows what their fields say, or how many hold them. What is the same
-- for many lanes is asked and written once for all, and for each lane nothing is made but texts: functions and tables cost
-- more than most commands.

-- Lanes that are read together.
local LANES_TOGETHER = 100

local rings = {high = BASE .. 'ring:high', normal = BASE .. 'ring:normal', low = BASE .. 'ring:low'}

local call, concat = redis.call, table.concat

-- Entries that were popped go back to the front of their list.
local function push_back(list, entries, first, last)
    for i = last, first, -1 do
        call('LPUSH', list, entries[i])
        entries[i] = nil
    end
end

-- What a visit has left in a lane: no more entries; perhaps some; perhaps some, for which a gate may have no room; or all,
-- because a gate had none.
local NO_MORE, MAYBE, FULL, ALL = 0, 1, 2, 3

-- NOW as the arrival times of rates are stored.
local NOW_TEXT = string.format('%.6f', NOW)

-- Write what is new of gates: fields, and arrival times; see `visit_quickly`.
local function write_gates(gates, rules_of, stored, texts)
    local set, deleted, times, n, m, moved, time, time_text = {}, {}, nil, 0, 0, 0, nil, nil
    for number = 1, #gates do
        local text = texts[number]
        if text ~= stored[number] then
            if rules_of[number].step then
                -- Many rates that were at rest get the same time: to make text of it takes longer than to store it.
                if text ~= time then time, time_text = text, string.format('%.6f', text) end
                times = times or {}
                times[moved + 1], times[moved + 2] = gates[number], time_text
                moved = moved + 2
            elseif text == '0\n\n' then
                m = m + 1
                deleted[m] = gates[number]
            else
                set[n + 1], set[n + 2] = gates[number], text
                n = n + 2
            end
        end
    end
    write_lists(GATES, set, n, deleted, m)
    if times then
        write_lists(RATES, times, moved, {}, 0)
        moved_rates(moved / 2)
    end
end

-- Whether a lane has to wait because fields of its gates say that they are full, and is the only one that waits at any of them.
-- `first`, `last`: where its gates begin and end in `numbers`; see `visit_quickly`.
local function waits_alone(first, last, numbers, rules_of, texts)
    for j = first, last do
        local number = numbers and numbers[j] or j
        local rule, text = rules_of[number], texts[number]
        if rule.step then
            local ahead = text ~= true and text - NOW
            if not ahead or ahead > rule.slack or ahead > rule.longest then return false end
        elseif rule.packed == 0 or text == SPILLED then
            return false
        elseif text then
            local holders = byte(text) - ZERO
            if holders >= rule.packed and holders < rule.limit or sub(text, -2) ~= '\n\n' then return false end
        end
    end
    return true
end

-- Whether others than this lane wait at a gate, or are in the ring because it had room; see `visit_quickly`. `caller`: the gate
-- that has called this lane, or nil.
local function is_lined(number, gates, waited, texts, caller)
    local gate = gates[number]
    if texts[number] ~= SPILLED then return waited[number] end
    return call('EXISTS', BASE .. 'waiters:' .. gate) == 1 or call('ZCARD', BASE .. 'called:' .. gate) > (gate == caller and 1 or 0)
end

-- Let jobs of up to `most` lanes of a ring start, up to `want`. `any_called`: gates have called lanes. `any_lined`: there are
-- fair keys with several lanes, else all fair lanes of the ring are alone with their key. Returns how many lanes were
-- visited; how many lanes follow for which this is no way; lanes that have to wait, {lane, gate, time at which that opens or
-- false, ...}, nil if none; and other gates that they leave open, at which lanes may wait, nil if none.
local function visit_quickly(level, want, ids, seen, most, any_called, any_lined)
    local ring = rings[level]
    -- Of the lane n: its name, where its fair key ends and the jobs of a turn, nil if it is not fair, where its gates begin in
    -- `numbers`, where its entries end in `entries`, and what its visit has left: NO_MORE, MAYBE or FULL.
    local names, key_ends, quanta, gates_at, ends, lefts = nil, {}, {}, {}, {}, {}
    -- The numbers of gates, by the order of lanes; nil as long as no two lanes have a gate in common: then they are in this order.
    -- And by name; nil as long as no two can have one in common, because all are like the `first_like`.
    local numbers, entries, number_of, first_like = nil, {}, nil, nil
    -- Of gates, by number: their names and rules, what was stored, and what is to be. That is a field, false if there is none;
    -- of a rate the arrival time, or true if it has a field: then it has been no rate before, and its field still says who
    -- has a slot or a turn.
    local gates, rules_of, stored, texts = nil, {}, nil, nil
    -- What many lanes have in common, see `likeness`, and the gates and rules of a lane by place. It is looked for again after so
    -- many lanes that are not alike.
    local like, unlike, patience = nil, 0, 1
    local own, prefixes, prefix_rules = {}, {}, {}
    local lists, ready = {}, {}
    -- The gates, by number, at which a lane waits or that have called one, as their fields say it.
    local waited = {}
    -- Of gates with keys of their own, by number, how many hold them, and who does now; and the gates that have called lanes.
    local held, joins, callers = {}, {}, nil
    local count, jobs, others, place_count, gate_count, list_count = 0, 0, 0, 0, 0, 0
    -- Whether lanes have a gate in common, and gates have keys of their own.
    local shared, any_held, any_text = false, false, false
    -- Whether the ring goes round slowly, so that a lane's jobs may have ended before its next turn; nil: not looked up.
    local slow_ring = nil
    local each = 2
    while jobs < want and count < most and others == 0 do
        local chunk = math.min(math.ceil((want - jobs) / each), most - count, LANES_TOGETHER)
        local page = call('ZRANGE', ring, count, count + chunk - 1)
        local size = #page
        if size == 0 then break end
        -- A fair lane has one job a turn, most often.
        if each == 2 and size == chunk and chunk > 1 and select(2, shape_of(page[1])) == 1 and chunk < most - count then
            each, chunk = 1, math.min(want - jobs, most - count, LANES_TOGETHER)
            page = call('ZRANGE', ring, count, count + chunk - 1)
            size = #page
        end
        if names then
            for i = 1, size do names[count + i] = page[i] end
        else
            names = page
        end
        local unread, rates, rate_numbers, rate_count, before = {}, nil, nil, 0, gate_count
        for i = 1, size do
            local lane, n, places, own_rules = page[i], count + i, 0, prefix_rules
            local key = like and key_in(lane, like)
            if not key then
                unlike = unlike + 1
                if unlike == patience then
                    like, key = likeness(lane)
                    unlike, patience = 0, 4 * patience
                end
            end
            if key then
                local heads, keyed = like.prefixes, like.keyed
                places, own_rules = #heads, like.rules
                for place = 1, places do own[place] = keyed[place] and heads[place] .. key or heads[place] end
                if like.fair then key_ends[n], quanta[n] = like.from + #key - 1, like.quantum end
            else
                local key_end, quantum = nil, nil
                places, key_end, quantum = read_gates(lane, own, prefixes, prefix_rules)
                if key_end then key_ends[n], quanta[n] = key_end, quantum end
            end
            if not number_of then
                first_like = first_like or key and like.distinct and like
                if not key or like ~= first_like then number_of = numbers_of(gates, before, unread) end
            end
            gates_at[n] = place_count + 1
            for place = 1, places do
                local gate, rule = own[place], own_rules[place]
                local number = number_of and number_of[gate]
                place_count = place_count + 1
                if number then
                    if not shared then
                        shared, numbers = true, {}
                        for j = 1, place_count - 1 do numbers[j] = j end
                    end
                else
                    gate_count = gate_count + 1
                    number = gate_count
                    if number_of then number_of[gate] = number end
                    rules_of[number], unread[number - before] = rule, gate
                    if rule.step then
                        if not rates then rates, rate_numbers = {}, {} end
                        rate_count = rate_count + 1
                        rates[rate_count], rate_numbers[rate_count] = gate, number
                    end
                end
                if shared then numbers[place_count] = number end
            end
        end
        gates_at[count + size + 1] = place_count + 1
        if gate_count > before then
            local found = call('HMGET', GATES, unpack(unread))
            local times = rates and call('HMGET', RATES, unpack(rates))
            for i = 1, rate_count do
                local time, number = times[i], rate_numbers[i] - before
                if found[number] then
                    found[number] = true
                -- Times of as many digits are compared as text: to make a number of it takes longer.
                elseif time and (#time ~= #NOW_TEXT or time > NOW_TEXT) then
                    found[number] = math.max(NOW, tonumber(time))
                else
                    found[number] = NOW
                end
            end
            if gates then
                for i = 1, gate_count - before do
                    gates[before + i], stored[before + i], texts[before + i] = unread[i], found[i], found[i]
                end
            else
                gates, stored, texts = unread, found, {unpack(found)}
            end
        end
        local firsts = nil
        if any_lined then
            local fair_keys = {}
            for i = 1, size do fair_keys[i] = key_ends[count + i] and sub(page[i], 1, key_ends[count + i]) or '' end
            firsts = call('HMGET', FAIR, unpack(fair_keys))
        end
        local notes = any_called and call('HMGET', CALLED, unpack(page))
        local visited = count
        for i = 1, size do
            if jobs >= want then break end
            local n, lane = visited + i, page[i]
            -- How many jobs may start; 0: this is no way for the lane.
            local free, first, last = quanta[n] or QUANTUM, gates_at[n], gates_at[n + 1] - 1
            if free > want - jobs then free = want - jobs end
            if firsts and key_ends[n] and firsts[i] ~= lane then free = 0 end
            if notes and notes[i] then
                callers = callers or {}
                callers[n] = string.match(notes[i], '^%S+ (.*)$')
                if rule_of(callers[n]).step then free = 0 end
            end
            -- The least room, and whether fields say who holds a gate.
            local least, written = free + 1, false
            for j = first, last do
                local number = numbers and numbers[j] or j
                local rule, text, room = rules_of[number], texts[number], 0
                if not text then
                    room = rule.packed
                elseif rule.step then
                    local ahead = text ~= true and text - NOW
                    -- Else further ahead than a full burst: the limit was changed, or the clock went back.
                    if ahead and ahead <= rule.longest then
                        ahead = (rule.slack - ahead) / rule.step + 1.000001
                        room = ahead - ahead % 1
                    end
                elseif text == SPILLED then
                    any_text = true
                    if not held[number] then held[number], any_held = call('SCARD', BASE .. 'held:' .. gates[number]), true end
                    if rule.kind ~= 'o' then room = rule.limit - held[number] end
                else
                    local holders = byte(text) - ZERO
                    room, any_text = rule.packed - holders, true
                    if holders > 0 then written = true end
                end
                if room < least then least = room end
            end
            -- One that a gate has called may keep that turn: it is for the general way.
            local full_gates = least < 1 and free > 0 and others == 0 and not (notes and notes[i])
            full_gates = full_gates and waits_alone(first, last, numbers, rules_of, texts)
            if least < free then free = least end
            -- It is only counted how many follow for which there is another way.
            if others > 0 and free > 0 then break end
            local list, got, taken, holders = lane_base .. lane, 0, nil, nil
            if free == 1 then
                local id = call('LPOP', list)
                if id then
                    got, holders, entries[jobs + 1] = 1, id, id
                    if written then taken = {id} end
                end
            elseif free > 1 then
                taken = call('LPOP', list, DIGITS[free] or free)
                if taken then
                    got, holders = #taken, concat(taken, '\n')
                    for j = 1, got do entries[jobs + j] = taken[j] end
                end
            end
            if written then
                local fits = true
                for j = first, last do
                    local number = numbers and numbers[j] or j
                    local text = texts[number]
                    for k = 1, text and not rules_of[number].step and got or 0 do
                        fits = fits and not find(text, taken[k], 2, true)
                    end
                end
                if not fits then
                    push_back(list, entries, jobs + 1, jobs + got)
                    got = 0
                end
            end
            if full_gates then
                count, ends[n], lefts[n] = n, jobs, ALL
            elseif got == 0 then
                others = others + 1
            else
                for j = first, last do
                    local number = numbers and numbers[j] or j
                    local text = texts[number]
                    if not text then
                        texts[number] = DIGITS[got] .. '\n' .. holders .. '\n\n'
                    elseif rules_of[number].step then
                        texts[number] = text + got * rules_of[number].step
                    elseif text == SPILLED then
                        held[number] = held[number] + got
                    else
                        local stop = written and find(text, '\n\n', 2, true) or 2
                        local tail = #text
                        -- The turn of this lane, which the gate has called, is used up.
                        if tail > stop + 1 and byte(text, stop + 2) ~= WAITS and sub(text, (find(text, ' ', stop + 3, true) or tail) + 1) == lane then
                            tail = stop + 1
                        end
                        if tail > stop + 1 then waited[number] = true end
                        if tail == 3 then
                            texts[number] = DIGITS[got] .. '\n' .. holders .. '\n\n'
                        else
                            texts[number] = DIGITS[byte(text) - ZERO + got] .. sub(text, 2, stop - 1) .. '\n' .. holders .. sub(text, stop, tail)
                        end
                    end
                end
                jobs = jobs + got
                count, ends[n] = n, jobs
                if got < free then
                    lefts[n] = NO_MORE
                else
                    lefts[n] = least <= got and FULL or MAYBE
                    list_count = list_count + 1
                    lists[list_count] = list
                end
            end
        end
        if size < chunk then break end
        each = math.max(1, jobs / math.max(1, count))
    end
    if count == 0 then return 0, others end
    -- Nothing is written yet but what is put back here.
    if find(concat(entries, ' '), '\n', 1, true) then
        for n = count, 1, -1 do push_back(lane_base .. names[n], entries, n > 1 and ends[n - 1] + 1 or 1, ends[n]) end
        return 0, most
    end

    -- Which lists have more entries than were taken: most often all or none.
    local existing = list_count > 0 and call('EXISTS', unpack(lists)) or 0
    local mixed = existing > 0 and existing < list_count

    -- The first are what is done with the lane n; entries that another script has taken, or that have one before, see
    -- `kinds_of`, do not start after all.
    local owners = jobs > 0 and call('HMGET', OWNERS, unpack(entries))
    local scores = jobs > 0 and call('GEOHASH', INCOMPLETE, unpack(entries))
    local lanes = jobs > 0 and call('HMGET', LANES, unpack(entries))
    local parked, open, opened, leaving, turns_now, without = nil, nil, nil, {}, {}, {}
    local at, total, ready_count, leaving_count, turn_count, without_count = 1, #ids, 0, 0, 0, 0
    for n = 1, count do
        local lane, stop = names[n], ends[n]
        local first, last = gates_at[n], gates_at[n + 1] - 1
        while at <= stop do
            local id = entries[at]
            if scores[at] == NO_DELAY and not owners[at] and lanes[at] == lane and not seen[id] then
                seen[id] = true
                total = total + 1
                ids[total] = id
                if any_held then
                    for j = first, last do
                        local number = numbers and numbers[j] or j
                        if held[number] then
                            local members = joins[number] or {}
                            joins[number], members[#members + 1] = members, id
                        end
                    end
                end
            else
                for j = first, last do
                    local number = numbers and numbers[j] or j
                    local text, step = texts[number], rules_of[number].step
                    if step then
                        texts[number] = math.max(NOW, text - step)
                    elseif held[number] then
                        held[number] = held[number] - 1
                    else
                        local from, to = find(text, '\n' .. id .. '\n', 2, true)
                        texts[number] = DIGITS[byte(text) - ZERO - 1] .. sub(text, 2, from - 1) .. sub(text, to)
                    end
                end
            end
            at = at + 1
        end
        local left = lefts[n]
        local more = left == ALL or existing > 0 and left ~= NO_MORE and (not mixed or call('EXISTS', lane_base .. lane) == 1)
        -- A gate that has no room for another job: the first at which others may wait, behind which the lane waits then, or else
        -- the first. At one of its own it would be back in the ring before those others each time, and pass them.
        local full, opens = nil, false
        if more and (left >= FULL or shared) then
            for j = first, last do
                local number = numbers and numbers[j] or j
                local text, rule = texts[number], rules_of[number]
                if rule.step then
                    local slack = rule.slack - (text - NOW)
                    if slack < -0.000001 and not full then
                        full, opens = number, NOW - slack
                        break
                    end
                elseif text and (held[number] or byte(text) - ZERO) >= rule.limit then
                    local caller = callers and callers[n]
                    if not full or is_lined(number, gates, waited, texts, caller) and not is_lined(full, gates, waited, texts, caller) then
                        full = number
                    end
                end
            end
        end
        -- Before its next turn comes, its jobs may have ended: else it waits there from then on.
        if full and left ~= ALL and not opens and not waited[full] and texts[full] ~= SPILLED and rules_of[full].kind ~= 'o' then
            if slow_ring == nil then slow_ring = call('ZCARD', ring) > call('ZCARD', LEASES) + want end
            if slow_ring then full = nil end
        end
        if more and not full then
            ready[ready_count + 1], ready[ready_count + 2] = next_turn(), lane
            ready_count = ready_count + 2
        else
            leaving_count = leaving_count + 1
            leaving[leaving_count] = lane
            if key_ends[n] then
                turn_count = turn_count + 1
                turns_now[turn_count] = sub(lane, 1, key_ends[n])
            end
            if not more then
                without_count = without_count + 1
                without[without_count] = lane
            else
                local text = texts[full]
                if opens or waited[full] or text == SPILLED then
                    parked = parked or {}
                    local size = #parked
                    parked[size + 1], parked[size + 2], parked[size + 3] = lane, gates[full], opens
                else
                    texts[full], waited[full] = text .. 'w' .. RANKS[level] .. next_turn() .. ' ' .. lane, true
                end
            end
            if any_text or shared then
                for j = first, last do
                    local number = numbers and numbers[j] or j
                    local text = texts[number]
                    if number ~= full and (waited[number] or text == SPILLED) and not (opened and opened[number]) then
                        open, opened = open or {}, opened or {}
                        opened[number] = true
                        if text ~= SPILLED or call('EXISTS', BASE .. 'waiters:' .. gates[number]) == 1 then open[#open + 1] = gates[number] end
                    end
                end
            end
        end
    end
    if gates then write_gates(gates, rules_of, stored, texts) end
    for number, members in pairs(joins) do call('SADD', BASE .. 'held:' .. gates[number], unpack(members)) end
    -- The turns of lanes that gates have called are used up.
    for n, gate in pairs(callers or {}) do
        if n <= count then
            call('HDEL', CALLED, names[n])
            call('ZREM', BASE .. 'called:' .. gate, names[n])
        end
    end
    write_lists(PLACES, {}, 0, without, without_count)
    write_lists(FAIR, {}, 0, turns_now, turn_count)
    -- Lanes that stay get another turn, which is cheaper than to add them again. They go first: a ring that is empty for a
    -- moment would be a list again, see LONG.
    if ready_count > 0 then
        call('ZADD', ring, unpack(ready))
        if leaving_count > 0 then call('ZREM', ring, unpack(leaving)) end
    else
        call('ZREMRANGEBYRANK', ring, '0', count - 1)
    end
    return count, others, parked, open
end

