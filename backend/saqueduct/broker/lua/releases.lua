-- Inserted after `limits.lua` into the script that settles. The short way in which jobs that have ended leave their gates.
-- `ids`: the jobs, `lanes`: the lane of each. Returns the gates at which others may follow in the general way.
function flow.release(ids, lanes)
    local gates, leavers, total, rest, left = {}, {}, 0, {}, {}
    for i = 1, #ids do
        local id = ids[i]
        local lane = lanes[i]
        -- Where its gates begin: after its priority, and the part of a fair one.
        local length, from = #lane, find(lane, '\n', 3, true)
        if from and byte(lane, from + 1) == 1 then from = find(lane, '\n', from + 2, true) end
        while from do
            local stop = find(lane, '\n', from + 1, true)
            total = total + 1
            gates[total], leavers[total] = sub(lane, from + 1, stop and stop - 1 or length), id
            from = stop
        end
    end
    -- What the fields of gates say that this call changes; false: nobody is there any more.
    local changed, spilled = {}, {}
    for first = 1, total, FIELDS_READ do
        local last = math.min(first + FIELDS_READ - 1, total)
        local found = redis.call('HMGET', GATES, unpack(gates, first, last))
        for i = first, last do
            local text = found[i - first + 1]
            if text then
                local gate, id = gates[i], leavers[i]
                local known = changed[gate]
                if known ~= nil then text = known end
                if text == '1\n' .. id .. '\n\n' then
                    changed[gate] = false
                elseif text == SPILLED then
                    local members = spilled[gate] or {}
                    spilled[gate], members[#members + 1] = members, id
                elseif text then
                    local stop = find(text, '\n\n', 2, true)
                    local from, to = find(text, '\n' .. id .. '\n', 2, true)
                    if from and from < stop and not find(id, '\n', 1, true) then
                        if known == nil and byte(text, -1) ~= 10 and byte(text, stop + 2) == WAITS then left[#left + 1] = gate end
                        changed[gate] = DIGITS[byte(text) - ZERO - 1] .. sub(text, 2, from - 1) .. sub(text, to)
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
    -- A slot has just been released: the lane that alone waits there follows, without counting the room. If a smaller limit
    -- has left none, it comes back from the ring with its turn.
    -- Of each such gate the lane, what its field says then, and the key of a fair lane.
    local rings, followed, followers, fields, keys, count, fair = {}, {}, {}, {}, {}, 0, false
    for i = 1, #left do
        local gate = left[i]
        local kind = rule_of(gate).kind
        if kind == 'r' or kind == 'o' then
            rest[#rest + 1] = gate
        else
            local text = changed[gate]
            count = count + 1
            fields[count], followers[count] = called_text(text, find(text, '\n\n', 2, true))
            followed[count], keys[count] = gate, key_of(followers[count]) or ''
            fair = fair or keys[count] ~= ''
        end
    end
    if count == 0 then
        write_fields(GATES, changed)
        return rest
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
            local level = byte(lane) == 110 and 'normal' or byte(lane) == 104 and 'high' or 'low'
            local ring = rings[level]
            if not ring then
                ring = {}
                rings[level] = ring
            end
            local size = #ring
            ring[size + 1], ring[size + 2] = next_turn(), lane
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
