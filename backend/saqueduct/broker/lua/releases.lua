-- The short way in which jobs that have ended leave their gates: a function for the script that settles, which begins with what
-- it uses of `lanes.lua`. `ids`: the jobs, `lanes`: the lane of each. Returns the gates at which others may follow in the
-- general way.
local function leave_gates(ids, lanes)
    local gates, firsts, lasts, total, rest, left = {}, {}, {}, 0, {}, {}
    -- Jobs of a lane that follow each other, as they were leased, leave its gates together: the first of them, and the place in
    -- `gates` before those of the lane.
    local first_id, before, previous, any_fair = 1, 0, nil, false
    for i = 1, #ids do
        local lane = lanes[i]
        if lane == previous and i - first_id < PACKED then
            for j = before + 1, total do lasts[j] = i end
        else
            first_id, before, previous = i, total, lane
            -- Where its gates begin: after its priority, and the part of a fair one.
            local length, from = #lane, find(lane, '\n', 3, true)
            if from and byte(lane, from + 1) == 1 then from, any_fair = find(lane, '\n', from + 2, true), true end
            while from do
                local stop = find(lane, '\n', from + 1, true)
                total = total + 1
                gates[total], firsts[total], lasts[total] = sub(lane, from + 1, stop and stop - 1 or length), i, i
                from = stop
            end
        end
    end
    -- A slot has just been released: the lane that alone waits there follows, without counting the room. If a smaller limit
    -- has left none, it comes back from the ring with its turn.
    local rings = {}
    local function follow(lane)
        local level = byte(lane) == 110 and 'normal' or byte(lane) == 104 and 'high' or 'low'
        local ring = rings[level] or {}
        local size = #ring
        rings[level], ring[size + 1], ring[size + 2] = ring, next_turn(), lane
    end
    local function lets_follow(gate)
        local kind = rule_of(gate).kind
        return kind ~= 'r' and kind ~= 'o'
    end
    -- What the fields of gates say that this call changes; false: nobody is there any more.
    local changed, spilled = {}, {}
    for start = 1, total, FIELDS_READ do
        local last = math.min(start + FIELDS_READ - 1, total)
        local found = redis.call('HMGET', GATES, unpack(gates, start, last))
        for i = start, last do
            local text = found[i - start + 1]
            if text then
                local gate, from, to = gates[i], firsts[i], lasts[i]
                local known = changed[gate]
                if known ~= nil then text = known end
                if text == SPILLED then
                    local members = spilled[gate] or {}
                    spilled[gate] = members
                    for n = from, to do members[#members + 1] = ids[n] end
                elseif text then
                    -- What the field says if they all hold it, and nobody else.
                    local all = DIGITS[to - from + 1] .. '\n' .. (from == to and ids[from] or table.concat(ids, '\n', from, to)) .. '\n\n'
                    local size, lane = #all, lanes[from]
                    if text == all then
                        changed[gate] = false
                    elseif sub(text, 1, size) == all then
                        -- After 'w', a rank of one digit, a turn of 15 and a space: the lane that has just had a slot waits for
                        -- the next, as most often.
                        local tail = sub(text, size + 1)
                        if not any_fair and known == nil and sub(tail, 19) == lane and byte(tail) == WAITS and lets_follow(gate) then
                            changed[gate] = '0\n\nc' .. sub(tail, 2)
                            follow(lane)
                        else
                            changed[gate] = '0\n\n' .. tail
                            if known == nil and byte(tail) == WAITS then left[#left + 1] = gate end
                        end
                    else
                        local freed = false
                        for n = from, to do
                            local id = ids[n]
                            local stop = holders_end(text)
                            local at, on = find(text, '\n' .. id .. '\n', 2, true)
                            if at and at < stop and not find(id, '\n', 1, true) then
                                text, freed = DIGITS[byte(text) - ZERO - 1] .. sub(text, 2, at - 1) .. sub(text, on), true
                            end
                        end
                        if freed then
                            local stop = holders_end(text)
                            changed[gate] = text ~= '0\n\n' and text
                            if known == nil and byte(text, stop + 2) == WAITS then left[#left + 1] = gate end
                        end
                    end
                end
            end
        end
    end
    for gate, members in pairs(spilled) do
        local held, waiters = BASE .. 'held:' .. gate, BASE .. 'waiters:' .. gate
        if redis.call('SREM', held, unpack(members)) > 0 then
            if redis.call('EXISTS', waiters) == 1 then
                rest[#rest + 1] = gate
            elseif redis.call('EXISTS', held) == 0 then
                changed[gate] = false
            end
        end
    end
    -- Of each gate the lane that follows, what its field says then, and the key of a fair lane.
    local followed, followers, fields, keys, count, fair = {}, {}, {}, {}, 0, false
    for i = 1, #left do
        local gate = left[i]
        if lets_follow(gate) then
            local text = changed[gate]
            count = count + 1
            fields[count], followers[count] = called_text(text, holders_end(text))
            followed[count], keys[count] = gate, key_of(followers[count]) or ''
            fair = fair or keys[count] ~= ''
        else
            rest[#rest + 1] = gate
        end
    end
    local found, turns_now = fair and redis.call('HMGET', FAIR, unpack(keys)), {}
    for i = 1, count do
        local lane, key = followers[i], keys[i]
        if key ~= '' and (found[i] or turns_now[key]) then
            -- Another lane of its key has the turn.
            rest[#rest + 1] = followed[i]
        else
            if key ~= '' then turns_now[key] = lane end
            changed[followed[i]] = fields[i]
            follow(lane)
        end
    end
    write_fields(GATES, changed)
    if next(turns_now) then write_fields(FAIR, turns_now) end
    for level, ring in pairs(rings) do
        for first = 1, #ring, FIELDS_READ do
            redis.call('ZADD', BASE .. 'ring:' .. level, unpack(ring, first, math.min(first + FIELDS_READ - 1, #ring)))
        end
    end
    if next(rings) then wake() end
    return rest
end
