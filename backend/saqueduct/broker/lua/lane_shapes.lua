-- Inserted before `quick_visits.lua` into the script that leases: how the gates of many lanes are read. Most lanes that follow
-- each other are of one task, and differ in a key: they are compared as a whole, because each part of a text that is looked
-- for or made costs half as much as a command.

-- What lanes have in common that differ from this one only in a key, which is the key of a fair one, or of its first gate
-- with a key: the texts around the key, which is in a lane up to three times. `prefixes`: its gates, without that key if they
-- are `keyed`; `distinct` if all are: then no two such lanes have a gate in common. And the key of this lane; nil if a gate has
-- another one, or if it has none.
local function likeness(lane)
    local from, quantum, key_end = shape_of(lane)
    local prefixes, keyed, rules_of, pieces = {}, {}, {}, {}
    local key, piece, other, distinct = nil, sub(lane, 1, from - 1), false, true
    if key_end then
        local key_from = (find(lane, '\t', 3, true) or key_end) + 1
        key, piece, pieces[1] = sub(lane, key_from, key_end), sub(lane, key_end + 1, from - 1), sub(lane, 1, key_from - 1)
    end
    while from <= #lane do
        local stop = find(lane, '\n', from, true) or #lane + 1
        local gate, place = sub(lane, from, stop - 1), #prefixes + 1
        local tab = find(gate, '\t', 1, true) or #gate
        local own = sub(gate, tab + 1)
        if own ~= '' then key = key or own end
        keyed[place], rules_of[place] = own ~= '' and own == key, rule_of(gate)
        other, distinct = other or own ~= '' and own ~= key, distinct and keyed[place]
        prefixes[place] = keyed[place] and sub(gate, 1, tab) or gate
        piece = piece .. (place > 1 and '\n' or '') .. prefixes[place]
        if keyed[place] then pieces[#pieces + 1], piece = piece, '' end
        from = stop + 1
    end
    local keys = #pieces
    if keys == 0 or keys > 3 or other then return nil, nil end
    local like = {head = pieces[1], middle = pieces[2] or '', tail = pieces[3] or '', rest = piece, keys = keys,
        prefixes = prefixes, keyed = keyed, rules = rules_of, distinct = distinct, fair = key_end ~= false, quantum = quantum}
    -- Where the key begins, and how long such a lane is without it.
    like.from, like.fixed = #like.head + 1, #like.head + #like.middle + #like.tail + #piece
    return like, key
end

-- The key by which a lane differs from those that are alike, or nil: it is another one.
local function key_in(lane, like)
    local from, keys = like.from, like.keys
    local key = sub(lane, from, from + (#lane - like.fixed) / keys - 1)
    if find(key, '\n', 1, true) then return nil end
    if keys == 1 then return lane == like.head .. key .. like.rest and key or nil end
    if keys == 2 then return lane == like.head .. key .. like.middle .. key .. like.rest and key or nil end
    return lane == like.head .. key .. like.middle .. key .. like.tail .. key .. like.rest and key or nil
end

-- The way for all other lanes: read the gates of one, one by one, into `gates`. `prefixes` and `rules_of` are by place what they
-- were in the last lane that was read so: their names with the tab, and their rules. Returns how many; of a fair one where its
-- key ends, else false; and the jobs of its turn.
local function read_gates(lane, gates, prefixes, rules_of)
    local from, quantum, key_end = shape_of(lane)
    local place, length = 0, #lane
    while from <= length do
        local stop = find(lane, '\n', from, true) or length + 1
        local gate = sub(lane, from, stop - 1)
        place = place + 1
        gates[place] = gate
        local prefix = prefixes[place]
        if not prefix or sub(gate, 1, #prefix) ~= prefix then
            local tab = find(gate, '\t', 1, true)
            prefixes[place], rules_of[place] = tab and sub(gate, 1, tab) or false, rule_of(gate)
        end
        from = stop + 1
    end
    return place, key_end, quantum
end

-- The numbers of gates by name, of the `before` that are in `gates`, and of those that are new.
local function numbers_of(gates, before, new)
    local number_of = {}
    for i = 1, before do number_of[gates[i]] = i end
    for i = 1, #new do number_of[new[i]] = before + i end
    return number_of
end
