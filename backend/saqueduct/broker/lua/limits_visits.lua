    -- Continues `limits_waits.lua`.
    -- Visits of lanes, for the script that leases.
    local function load_visits()
        -- How many jobs the gates of a lane let start.
        local function least_room(lane)
            local found = gates_of(lane)
            local least = math.huge
            for i = 1, #found do
                local free = is_any_closed() and room(found[i].name) or open_room(found[i])
                if free < least then least = free end
            end
            return least > 0 and least or 0
        end

        local function first_entries(list, most)
            if most == 1 then return {redis.call('LINDEX', list, '0') or nil} end
            return redis.call('LRANGE', list, '0', TEXTS[most - 1] or most - 1)
        end

        local function pop_entries(list, most)
            if most == 1 then return {redis.call('LPOP', list) or nil} end
            return redis.call('LPOP', list, TEXTS[most] or most) or {}
        end

        -- Entries that a visit has popped and not used, from that number on.
        local function push_back(list, entries, from)
            for i = #entries, from, -1 do redis.call('LPUSH', list, entries[i]) end
        end

        -- The first entries of a lane, for a visit that lets up to `want` jobs start, and how many it will be; popped if
        -- all may start. `all`: there are no more.
        local function look_at(lane, want)
            local known = read(lane)
            local least, free = math.min(want, known.quantum), least_room(lane)
            -- At least the first: it may have kept its slot, or have expired, as those behind it.
            local asked = any_expires() and least or math.min(least, math.max(free, 1))
            local popped = free >= asked
            local entries = (popped and pop_entries or first_entries)(known.list, asked)
            local looked = {lane = lane, parts = known, popped = popped, entries = entries, all = #entries < asked,
                more = false, from = 0, score = false}
            return looked, math.min(#entries, free)
        end

        -- Look with one command whether lanes have more entries than were popped. If some have, and some have not, it is
        -- left to their visits.
        local function look_for_more(found)
            local keys, of = {}, {}
            for _, looked in ipairs(found) do
                if looked.popped and not looked.all then keys[#keys + 1], of[#of + 1] = looked.parts.list, looked end
            end
            local count = count_existing(keys)
            if count > 0 and count < #keys then return end
            for _, looked in ipairs(of) do looked.all, looked.more = count == 0, count > 0 end
        end

        -- What a visit of each of these lanes needs to know; read together.
        local function known_of(found)
            -- What other ways have put off is read here.
            self.flush()
            local names, ids = {}, {}
            for i, looked in ipairs(found) do
                names[i], looked.from = looked.lane, #ids
                for j = 1, #looked.entries do ids[#ids + 1] = looked.entries[j] end
            end
            look_for_more(found)
            local known = {called = redis.call('HMGET', CALLED, unpack(names))}
            if #ids > 0 then
                known.owners = redis.call('HMGET', OWNERS, unpack(ids))
                known.scores = redis.call('ZMSCORE', INCOMPLETE, unpack(ids))
                known.lanes = redis.call('HMGET', LANES, unpack(ids))
                known.expires = any_expires() and redis.call('HMGET', EXPIRES, unpack(ids))
            end
            return known
        end

        -- Take so many lanes from a ring; returns them, and all that ZPOPMIN has returned.
        local function pop_lanes(level, count)
            local popped, names = redis.call('ZPOPMIN', rings[level], TEXTS[count] or count), {}
            for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
            local gates_, rates = {}, {}
            for _, lane in ipairs(names) do
                for _, gate in ipairs(read(lane).gates) do
                    gates_[#gates_ + 1] = gate
                    if rule_of(gate).kind == 'r' and stored_times[gate] == nil then rates[#rates + 1] = gate end
                end
            end
            read_packed(gates_)
            read_times(rates)
            return names, popped
        end

        -- Take lanes from a ring, as many as have `want` jobs that can start, or `most`, and look at them. Those that are
        -- left go back to their places.
        local function next_lanes(level, want, most)
            stir_left_open()
            self.flush()
            local found, left, entries, expected, each = {}, {}, 0, 0, 2
            most = math.min(most, LANES_READ)
            while expected < want and #found < most and entries < ENTRIES_READ do
                local count = math.min(math.ceil((want - expected) / each), most - #found)
                local names, popped = pop_lanes(level, count)
                for i, lane in ipairs(names) do
                    if expected >= want or entries >= ENTRIES_READ then
                        left[#left + 1], left[#left + 2] = popped[2 * i], lane
                    else
                        local looked, jobs = look_at(lane, want - expected)
                        looked.score = popped[2 * i]
                        found[#found + 1] = looked
                        entries, expected = entries + #looked.entries, expected + jobs
                    end
                end
                if #names < count then break end
                each = math.max(1, expected / #found)
            end
            if #left > 0 then redis.call('ZADD', rings[level], unpack(left)) end
            return found, #found > 0 and known_of(found)
        end

        -- For each of the first jobs of a lane: 'job' it can start, 'expired', or 'stale': another script has taken it, or
        -- it has an entry before: an aborted job has left one in a long list, and its key was enqueued again.
        local function kinds_of(looked, known, seen)
            local kinds, found = {}, {}
            for i, id in ipairs(looked.entries) do
                local n = looked.from + i
                local expires = known.expires and known.expires[n]
                local stale = known.scores[n] ~= '0' or known.owners[n] or known.lanes[n] ~= looked.lane
                if stale or seen[id] or found[id] then
                    kinds[i] = 'stale'
                elseif expires and math.floor(NOW * 1000) / 1000 > tonumber(expires) then
                    kinds[i] = 'expired'
                else
                    kinds[i] = 'job'
                end
                found[id] = true
            end
            return kinds
        end

        -- How many of a lane's jobs can start, the gate that limits them, and when it opens. `first`: the first of them,
        -- which may have kept its slot; `kept`: the gate that has kept a start for it.
        local function room_of(lane, want, first, kept)
            local most, limiting, opening = want, nil, nil
            for _, gate in ipairs(read(lane).gates) do
                local free, opens = room(gate)
                if gate == kept and not closed_until(gate) then free, opens = free + 1, nil end
                if not opens and rule_of(gate).kind == 'o' and slow.holds(gate, first) then
                    free = math.max(free, 0) + 1
                end
                if free < most or free <= 0 then most, limiting, opening = math.max(free, 0), gate, opens end
                if most == 0 then break end
            end
            return most, limiting, opening
        end

        -- Take jobs of a lane: how many entries of its list are done with, the ids that take a slot, and the gate at which
        -- the lane must wait, if none could start, with the time at which that opens.
        local function start_some(looked, known, want, ids, seen, kept)
            local lane, entries, kinds = looked.lane, looked.entries, kinds_of(looked, known, seen)
            local first = nil
            for i, kind in ipairs(kinds) do
                if kind == 'job' then first = first or entries[i] end
            end
            local most, limiting, opens = 0, nil, nil
            if first then most, limiting, opens = room_of(lane, want, first, kept) end
            local taken, consumed, before = {}, 0, #ids
            for i, id in ipairs(entries) do
                if kinds[i] == 'job' and #taken == most or kinds[i] ~= 'stale' and #ids - before == want then break end
                consumed = i
                if kinds[i] ~= 'stale' then
                    seen[id] = true
                    ids[#ids + 1] = id
                    if kinds[i] == 'job' then taken[#taken + 1] = id end
                end
            end
            return consumed, taken, first and most == 0 and limiting, opens
        end

        -- After a visit: put the lane where it belongs. `turn`: the one that it has not used, at the gate that has called
        -- it. `stays`: its turn in the ring is not over.
        local function settle_down(lane, empty, turn, caller, stays)
            local gate, opens = nil, nil
            -- The next job of an ordered lane may have kept its slot: a visit sees that.
            local gates_ = (empty or is_ordered(lane)) and {} or read(lane).gates
            for _, each in ipairs(gates_) do
                local free, at = room(each)
                if free <= 0 then
                    -- Rather one at which others wait, see `visit_quickly`.
                    local lined = not at and #gates_ > 1 and slow.is_lined(each)
                    if lined or not gate then gate, opens = each, at end
                    if lined or opens then break end
                end
            end
            if not empty and not gate and turn then return slow.call(lane, caller, turn) end
            if not empty and not gate then return to_ring(lane, stays) end
            if stays then end_turn(lane, read(lane).key) end
            if empty then
                forget_lane(lane)
            else
                park(lane, gate, opens, turn)
            end
            stir_others(lane, gate)
        end

        -- Let jobs of a lane start, up to `want`, and put it where it belongs.
        local function visit_lane(looked, known, position, want, ids, seen)
            local lane = looked.lane
            local turn, caller, kept = slow.end_call(lane, known.called[position])
            kept = kept and caller
            local stays = not read(lane).fair or first_of(read(lane).key) == lane and not pass_turn(lane, read(lane).key)
            want = math.min(want, read(lane).quantum)
            local consumed, taken, limiting, opens = start_some(looked, known, want, ids, seen, kept)
            if turn and (#taken > 0 or limiting == caller) then slow.note_visit(lane, caller, #taken == 0) end
            if kept and #taken == 0 then slow.return_seconds(kept, rule_of(kept).step) end
            if looked.popped then
                push_back(read(lane).list, looked.entries, consumed + 1)
            elseif consumed > 0 then
                redis.call('LTRIM', read(lane).list, TEXTS[consumed] or consumed, '-1')
            end
            if #taken > 0 then
                for _, gate in ipairs(read(lane).gates) do take(gate, taken, gate == kept) end
                if any_expires() then redis.call('HDEL', EXPIRES, unpack(taken)) end
            end
            if limiting then
                if stays then end_turn(lane, read(lane).key) end
                park(lane, limiting, opens, turn)
                return stir_others(lane, limiting)
            end
            local empty = consumed == #looked.entries
            empty = empty and (looked.all or not looked.more and redis.call('EXISTS', read(lane).list) == 0)
            settle_down(lane, empty, #taken == 0 and turn, caller, stays)
        end

        -- Visit lanes of a ring, up to `most`, until `ids` has `want` jobs, or lanes of other priorities are ready. Returns how
        -- many visits that took.
        function self.visit_batch(level, want, ids, seen, most)
            visited, others_ready = level, false
            local visits, left = 0, {}
            local looked, known = next_lanes(level, want - #ids, most)
            for i, each in ipairs(looked) do
                if #ids < want and not others_ready then
                    visit_lane(each, known, i, want - #ids, ids, seen)
                    visits = visits + 1
                else
                    left[#left + 1], left[#left + 2] = each.score, each.lane
                    if each.popped then push_back(read(each.lane).list, each.entries, 1) end
                end
            end
            if #left > 0 then redis.call('ZADD', rings[level], unpack(left)) end
            stir_left_open()
            return visits
        end
    end

