-- Inserted after `lanes.lua` into the scripts that move jobs. Jobs with limits do not wait in the queue's lists, but in lanes.
-- A lane is a list of jobs that wait for the same: its name is their priority and their gates, separated by newlines. A
-- gate is a limit for one key: the limit's name, a tab, the key. So a job that must wait at a gate holds up none but those
-- that would wait there too. A lane with jobs has a place: in the ring of its priority, whose lanes take turns, or among
-- the waiters of one gate that was closed when its turn came. A fair task adds one more part to its lanes: '\1' and its
-- name, the key, and jobs a turn, separated by tabs. Of the lanes of such a key one at a time is in the ring. Kept below `flow:`
--   lanes           hash: job that has not ended -> its lane
--   lane:LANE       list: jobs that wait
--   places          hash: lane with jobs -> gate at which it waits; '' in the ring, or at a gate whose field says so; or its
--                   fair part in the line of that
--   gates           hash: gate that jobs hold, or at which lanes wait -> 's' if the keys below say it, or, while up to eight
--                   jobs without line breaks in their ids hold it and at most one lane waits: how many hold it, their ids,
--                   each after a line break, two line breaks, and of that lane 'w', its turn, a space and its name; 'c'
--                   instead: it is in the ring, because the gate had room. No room is kept for it, because nobody else
--                   waited there, and no job took limits
--   ring:PRIORITY   zset: lanes that may have a job that can start, by turn
--   waiters:GATE    zset: lanes and takers that wait at the gate, by priority and turn
--   takers:GATE     zset: the takers among them
--   held:GATE       set: jobs that run, takers, and jobs of an ordered limit that wait for another attempt
--   rates           hash: gate of a rate -> the time from which on a start is no longer ahead of it (the theoretical arrival
--                   time of GCRA). Those whose time has passed are at rest, and removed from time to time
--   sleeping        zset: gates that open by themselves, by time
--   closed          hash: gate that a job has closed -> time until which no job may pass it, and the seconds that it took
--   expires         hash: job -> time after which it must not start; it passes all gates, and its worker ends it
--   limits          hash: limit -> rule: 'c N' so many at once, 'o N' the same in order, 'r N SECONDS BURST' a rate, 'u 0'
--                   no limit any more
--   declared        hash: limit -> rule, as the valid declaration has it
--   changed         hash: limit whose rule somebody has changed by hand -> the time, and who and why
--   turns           hash: priority and key of a fair task -> its lane that is in the ring; '+' before it: others may be in line
--   lined           set: those priorities and keys with a '+'. Without it the short way does not look at `turns`
--   line:KEY        zset: other lanes of that key that may have a job that can start; one follows when that lane was visited
--   takes           set: running jobs that take gates
--   takes:JOB       hash: its calls of `take`: token -> '+' granted or '-' waiting, and gate
--   begun           hash: priority -> leases that found jobs in both its list and its lanes, which begin in turn
--   checked         hash: how far `check` has come
--   called          hash: lane that came into the ring because a gate had room -> its turn there, and the gate; '+' before
--                   the turn: no room is kept for it, as for the 'c' in `gates`
--   called:GATE     zset: those lanes, by the time until which that room is kept for them; '+inf': a start of a rate is,
--                   until they have used it
--   missed          hash: lane -> how often a gate has called it, and was full when a worker had a slot for it
--   start:TOKEN     start of a rate that a taker got: the arrival time after it, and `returned` of the gate then
--   returned:GATE   seconds of a rate that were given back lately
-- A gate's slot is the lease: taken in the script that leases, released in the one that settles.
-- A running job may take a gate for a part of its run, see `take.lua`. Such a call is a taker: '\2', its token and the id of
-- its job. It waits among the waiters of the gate, and is in its set `held` as long as it has a slot.
-- What most jobs need is in `quick_visits.lua` and `releases.lua`, which know gates by their fields. This file is the general
-- way, which knows them by their keys: it moves there what a field says, see `spill`, where it stays until nothing is left.

-- Lanes of due gates that one call moves.
local WOKEN = 64

-- Lanes that are read together, and entries of them, after which no other lane is: a command has 8,000 arguments at most.
local LANES_READ, ENTRIES_READ = 500, 1000

-- Slots of a gate that one look sees.
local LOOKED_AT = 100

function flow.general()
    -- Functions of `load_slow`.
    local self, slow = {}, {}
    local lanes, gates = {}, {}
    -- Numbers as text: to make it takes longer than most commands.
    local TEXTS = {'1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16'}
    local held_base, waiters_base, line_base = BASE .. 'held:', BASE .. 'waiters:', BASE .. 'line:'
    -- True in the script that leases, which wakes other workers itself.
    self.leasing = false
    -- True while many lanes move: what is written into a hash or a ring waits for `flush`, because a command costs more than
    -- what it writes.
    self.together = false

    -- NOW as text, and what comes so many seconds before, or with less than 0 after it; made once a call.
    local times = {}
    local function before_now(seconds)
        local known = times[seconds]
        if not known then
            known = string.format('%.6f', NOW - seconds)
            times[seconds] = known
        end
        return known
    end

    local function is_fair(place)
        return byte(place) == 1
    end

    local function is_taker(member)
        return byte(member) == 2
    end

    local rings = {high = BASE .. 'ring:high', normal = BASE .. 'ring:normal', low = BASE .. 'ring:low'}

    -- The parts of a lane: its priority, ring, list and gates; of a fair one its key and the jobs of a turn.
    local function read(lane)
        local known = lanes[lane]
        if known then return known end
        local level, rest = string.match(lane, '^(%l+)\n?(.*)$')
        local found, part = {}, nil
        known = {level = level, ring = rings[level], gates = found, quantum = QUANTUM, list = lane_base .. lane, found = false, key = false}
        if is_fair(rest) then
            part, rest = string.match(rest, '^([^\n]*)\n?(.*)$')
            local key, weight = string.match(part, '^(.*)\t(%d+)$')
            known.fair, known.key, known.quantum = part, level .. '\n' .. key, tonumber(weight)
        end
        while rest ~= '' do
            part, rest = string.match(rest, '^([^\n]*)\n?(.*)$')
            found[#found + 1] = part
        end
        lanes[lane] = known
        return known
    end

    -- What `flush` writes: fields of a hash, false to delete one, and lanes of a ring.
    local hashes, added = {[PLACES] = {}, [CALLED] = {}, [GATES] = {}, [FAIR] = {}}, {}

    local function set_field(hash, name, value)
        if self.together then
            hashes[hash][name] = value
        elseif value then
            redis.call('HSET', hash, name, value)
        else
            redis.call('HDEL', hash, name)
        end
    end

    -- A field as it is after `flush`.
    local function field(hash, name)
        local value = hashes[hash][name]
        if value == nil then value = redis.call('HGET', hash, name) end
        return value
    end

    -- What the field of a gate says, as far as this call knows it; false: there is none. `empty`: it is to be SPILLED, as
    -- soon as something is in the keys of the gate.
    local packed, empty = {}, {}

    -- Read the fields of gates with one command.
    local function read_packed(names)
        for first = 1, #names, FIELDS_READ do
            local last = math.min(first + FIELDS_READ - 1, #names)
            local texts = redis.call('HMGET', GATES, unpack(names, first, last))
            for i = first, last do
                local name = names[i]
                if packed[name] == nil then packed[name] = texts[i - first + 1] end
            end
        end
    end

    local function packed_of(gate)
        local text = packed[gate]
        if text == nil then
            text = redis.call('HGET', GATES, gate)
            packed[gate] = text
        end
        return text
    end

    local function set_packed(gate, text)
        packed[gate], empty[gate] = text, nil
        set_field(GATES, gate, text)
    end

    -- Where the part of a field about its lane begins, and what it says: WAITS or CALLED_ALONE, its turn, and the lane; nil
    -- if there is none.
    local function lane_in(text)
        local stop = holders_end(text)
        if stop + 1 == #text then return stop end
        local space = find(text, ' ', stop + 3, true)
        return stop, byte(text, stop + 2), sub(text, stop + 3, space - 1), sub(text, space + 1)
    end

    -- Move what the field of a gate says to keys of the gate, and its lane's place to `places` or `called`: all but the
    -- short ways know only those.
    local function spill(gate)
        local text = packed_of(gate)
        if text == SPILLED then return end
        if not text then
            packed[gate], empty[gate] = SPILLED, true
            return
        end
        set_packed(gate, SPILLED)
        local stop, state, turn, lane = lane_in(text)
        local ids = {}
        for id in string.gmatch(sub(text, 2, stop), '[^\n]+') do ids[#ids + 1] = id end
        if #ids > 0 then redis.call('SADD', held_base .. gate, unpack(ids)) end
        if gates[gate] then gates[gate].holders = false end
        if state == WAITS then
            set_field(PLACES, lane, gate)
            redis.call('ZADD', waiters_base .. gate, turn, lane)
        elseif state then
            set_field(CALLED, lane, '+' .. turn .. ' ' .. gate)
        end
    end

    -- What this call knows of a gate: the names of its keys, and as far as they were looked up, its rule, and how many hold
    -- it.
    local function look_up(gate)
        local known = gates[gate]
        if packed[gate] ~= SPILLED then spill(gate) end
        if not known then
            -- With its first values: a table that grows costs as much as a command.
            known = {name = gate, held = held_base .. gate, waiters = waiters_base .. gate, rule = false, holders = false}
            gates[gate] = known
        end
        return known
    end

    local function holders_of(gate)
        local known = look_up(gate)
        known.holders = known.holders or redis.call('SCARD', known.held)
        return known.holders
    end

    -- The gates of a lane as `look_up` knows them, with their rules.
    local function gates_of(lane)
        local known = read(lane)
        local found = known.found or {}
        known.found = found
        for i, name in ipairs(known.gates) do
            found[i] = look_up(name)
            found[i].rule = rule_of(name)
        end
        return found
    end

    -- The same, for one in whose keys there is something from now on.
    function self.fill(gate)
        local known = look_up(gate)
        if empty[gate] then set_packed(gate, SPILLED) end
        return known
    end

    -- Forget a gate if nothing is left of it. `waiting`: how many wait there, if that is known.
    function self.tidy(gate, waiting)
        waiting = waiting or redis.call('ZCARD', look_up(gate).waiters)
        if waiting == 0 and not empty[gate] and holders_of(gate) == 0 then set_packed(gate, false) end
    end

    local function hold(gate, members)
        local known = self.fill(gate)
        local added = redis.call('SADD', known.held, unpack(members))
        if known.holders then known.holders = known.holders + added end
        return added
    end

    -- Whether one of them has held the gate until now.
    local function release(gate, ...)
        local known = look_up(gate)
        local removed = redis.call('SREM', known.held, ...)
        if known.holders then known.holders = known.holders - removed end
        return removed > 0
    end

    -- Arrival times of rates as this call knows them, and as they were read, false: none.
    local arrivals, stored_times = {}, {}

    -- Read the stored arrival times of these rates with one command.
    local function read_times(names)
        for first = 1, #names, FIELDS_READ do
            local last = math.min(first + FIELDS_READ - 1, #names)
            local times = redis.call('HMGET', RATES, unpack(names, first, last))
            for i, time in ipairs(times) do stored_times[names[first + i - 1]] = time end
        end
    end

    -- The arrival time of a rate; never further ahead than a full burst. If it is, because the limit was changed or the
    -- clock went back, it counts from now on: else the gate would open later the later it is looked at.
    local function arrival(gate, rule)
        local time = arrivals[gate]
        if time then return time end
        local most, stored_time = NOW + rule.burst * rule.step, stored_times[gate]
        if stored_time == nil then stored_time = redis.call('HGET', RATES, gate) end
        time = stored_time and tonumber(stored_time) or 0
        if time < NOW then time = NOW end
        if time > most + 0.000001 then
            time = most
            redis.call('HSET', RATES, gate, string.format('%.6f', most))
        end
        arrivals[gate] = time
        return time
    end

    -- Whether a key exists that few queues have, looked up once a call: most often one command finds none of them.
    local rare = nil
    local function exists(key)
        if rare == nil then rare = redis.call('EXISTS', CLOSED, EXPIRES, TAKES, MISSED) > 0 end
        return rare and redis.call('EXISTS', key) == 1
    end

    -- How many of these keys exist.
    local function count_existing(keys)
        local count = 0
        for first = 1, #keys, LANES_READ do
            count = count + redis.call('EXISTS', unpack(keys, first, math.min(first + LANES_READ - 1, #keys)))
        end
        return count
    end

    -- Whether any job has an expiry, looked up once a call.
    local expiring = nil
    local function any_expires()
        if expiring == nil then expiring = exists(EXPIRES) end
        return expiring
    end

    -- After that time a job that waits must not start.
    function self.expire(id, time)
        redis.call('HSET', EXPIRES, id, time)
        expiring = true
    end

    -- Until when a job has closed a gate; nil: none has. Whether there are any is looked up once a call.
    local any_closed = nil
    local function is_any_closed()
        if any_closed == nil then any_closed = exists(CLOSED) end
        return any_closed
    end

    local function closed_until(gate)
        if not is_any_closed() then return nil end
        local opens, length = string.match(redis.call('HGET', CLOSED, gate) or '', '^(%S+) (%S+)$')
        local left = opens and tonumber(opens) - NOW
        -- Longer than it was closed for: the clock went back.
        if left and left > 0 and left <= tonumber(length) + 1 then return tonumber(opens) end
        return nil
    end

    -- Wake a worker, once a call.
    local woken = false
    local function wake_others()
        if self.leasing or woken then return end
        woken = true
        wake()
    end

    -- The same as `room`, for a gate that no job has closed.
    local function open_room(known)
        local rule = known.rule or rule_of(known.name)
        if rule.kind ~= 'r' then return rule.limit - (known.holders or holders_of(known.name)) end
        local slack = (rule.burst - 1) * rule.step - (arrival(known.name, rule) - NOW)
        if slack < -0.000001 then return 0, NOW - slack end
        return math.floor(slack / rule.step + 0.000001) + 1
    end

    -- How many jobs may start at a gate, and for one that opens by itself when.
    local function room(gate)
        local closed = closed_until(gate)
        if closed then return 0, closed end
        return open_room(look_up(gate))
    end

    -- Both as text, made once a call: many rates that were at rest get the same.
    local texts, milliseconds_texts = {}, {}
    local function time_text(time)
        local text = texts[time]
        if not text then
            text = string.format('%.6f', time)
            texts[time] = text
        end
        return text
    end

    local function milliseconds(seconds)
        local text = milliseconds_texts[seconds]
        if not text then
            text = string.format('%d', math.ceil(seconds * 1000) + 1)
            milliseconds_texts[seconds] = text
        end
        return text
    end

    -- Starts at rates since the last `flush`.
    local moved = 0

    local function set_arrival(gate, time)
        -- As it is stored.
        local known = math.floor(time * 1000000 + 0.5) / 1000000
        arrivals[gate] = known
        redis.call('HSET', RATES, gate, time_text(time))
        if self.together then
            moved = moved + 1
        else
            moved_rates(1)
        end
    end

    -- `kept`: the gate has kept a start for one of them.
    local function take(gate, ids, kept)
        local rule = rule_of(gate)
        if rule.kind ~= 'r' then
            hold(gate, ids)
        elseif #ids > 1 or not kept then
            set_arrival(gate, arrival(gate, rule) + (kept and #ids - 1 or #ids) * rule.step)
        end
    end

    -- What `next_opening` returns; nil: look it up.
    local opening = nil

    local function sleep(gate, time)
        opening = nil
        redis.call('ZADD', SLEEPING, string.format('%.6f', time), gate)
    end

    local function add_to_ring(ring, turn, lane)
        if not self.together then return redis.call('ZADD', ring, turn, lane) end
        local members = added[ring] or {}
        added[ring], members[#members + 1], members[#members + 2] = members, turn, lane
    end

    local function in_parts(command, key, values)
        for first = 1, #values, 2 * LANES_READ do
            redis.call(command, key, unpack(values, first, math.min(first + 2 * LANES_READ - 1, #values)))
        end
    end

    -- Write what has been put off, see `together`.
    function self.flush()
        for hash, fields in pairs(hashes) do
            if next(fields) then
                hashes[hash] = {}
                write_fields(hash, fields)
            end
        end
        for ring, members in pairs(added) do
            added[ring] = nil
            in_parts('ZADD', ring, members)
        end
        if moved > 0 then
            moved_rates(moved)
            moved = 0
        end
    end

    -- The priority whose lanes `visit_some` visits, and whether a lane of another one is in a ring since.
    local visited, others_ready = nil, false

    -- What `turns` says of fair keys, as far as this call knows it.
    local firsts = {}

    -- Of a fair key the lane that is in the ring, or false, and whether there may be others in its line.
    local function first_of(key)
        local first = firsts[key]
        if first == nil then
            first = redis.call('HGET', FAIR, key)
            firsts[key] = first
        end
        if not first then return false, true end
        if byte(first) ~= PLUS then return first, false end
        return sub(first, 2), true
    end

    local function set_first(key, first)
        local before = firsts[key] or ''
        local lined = first and byte(first) == PLUS
        if lined ~= (byte(before) == PLUS) then redis.call(lined and 'SADD' or 'SREM', LINED, key) end
        firsts[key] = first
        set_field(FAIR, key, first)
    end

    -- The priority of a lane.
    local function level_in(lane)
        local first = byte(lane)
        return first == 110 and 'normal' or first == 104 and 'high' or 'low'
    end

    -- Put a lane at the end of its ring; a fair one at the end of the line of its key, if another of that is in the ring.
    -- `stays`: it has come from there, and its turn is not over. `placed`: its place is known to be ''.
    local function to_ring(lane, stays, placed)
        local key, level = not stays and key_of(lane), level_in(lane)
        if key then
            local first, lined = first_of(key)
            if first and first ~= lane then
                set_field(PLACES, lane, read(lane).fair)
                redis.call('ZADD', line_base .. key, next_turn(), lane)
                if not lined then set_first(key, '+' .. first) end
                return
            end
            if not first then set_first(key, lane) end
        end
        if not stays and not placed then set_field(PLACES, lane, '') end
        add_to_ring(rings[level], next_turn(), lane)
        if level ~= visited then others_ready = true end
    end

    -- The turn of a fair lane is over: the next of its key has it, if there is one. Returns whether there is.
    local function pass_turn(lane, key)
        local first, lined = first_of(key)
        if not lined then return false end
        local line = line_base .. key
        local follower = redis.call('ZPOPMIN', line)[1]
        if not follower then
            if first then set_first(key, first) end
            return false
        end
        set_first(key, false)
        to_ring(follower)
        if redis.call('EXISTS', line) == 1 then set_first(key, '+' .. follower) end
        return true
    end

    -- A lane has left the ring: the next of its key follows.
    local function end_turn(lane, key)
        if not key or first_of(key) ~= lane then return end
        if not pass_turn(lane, key) then set_first(key, false) end
    end

    -- `turn`: the one that it has not used; nil: it goes to the end.
    local function park(lane, gate, opens, turn)
        set_field(PLACES, lane, gate)
        redis.call('ZADD', self.fill(gate).waiters, turn or RANKS[read(lane).level] .. next_turn(), lane)
        if opens then sleep(gate, opens) end
    end

    -- Whether any job takes gates, looked up once a call.
    local taking = nil
    local function any_takes()
        if taking == nil then taking = exists(TAKES) end
        return taking
    end

    -- Whether any lane has missed its turn, looked up once a call. Also if no job takes gates just now.
    local missing = nil
    local function any_missed()
        if missing == nil then missing = exists(MISSED) end
        return missing
    end

    -- Whether nothing is in use that the short ways do not know.
    local function is_plain()
        return not any_takes() and not is_any_closed()
    end

    -- Look at a gate at which lanes may wait. `released`: jobs have left it. Then its room is not counted for a lane that
    -- alone waits there: if a smaller limit has left none, the lane comes back from the ring with its turn.
    local function stir_one(gate, released)
        local text = packed_of(gate)
        if not text then return end
        if text == SPILLED then return slow.stir(gate) end
        local stop = holders_end(text)
        if byte(text, stop + 2) ~= WAITS then return end
        local rule = rule_of(gate)
        if not is_plain() or rule.kind == 'r' or rule.kind == 'o' then return slow.stir(gate) end
        if not released and rule.limit <= byte(text) - ZERO then return end
        local called, lane = called_text(text, stop)
        set_packed(gate, called)
        to_ring(lane, false, true)
        wake_others()
    end

    -- Gates that lanes have left open which are no longer in the ring.
    local left_open, is_left_open = {}, {}

    local function stir_left_open()
        if #left_open == 0 then return end
        local gates_ = left_open
        left_open, is_left_open = {}, {}
        for _, gate in ipairs(gates_) do stir_one(gate) end
    end

    -- A lane has left the ring: what it leaves open at its gates is for others; `except` the gate at which it waits.
    local function stir_others(lane, except)
        for _, gate in ipairs(read(lane).gates) do
            if gate ~= except then
                if not self.together then
                    stir_one(gate)
                elseif not is_left_open[gate] then
                    is_left_open[gate], left_open[#left_open + 1] = true, gate
                end
            end
        end
    end

    local function forget_lane(lane)
        set_field(PLACES, lane, false)
        if any_missed() then redis.call('HDEL', MISSED, lane) end
    end

    local function is_ordered(lane)
        for _, gate in ipairs(read(lane).gates) do
            if rule_of(gate).kind == 'o' then return true end
        end
        return false
    end

    -- A job leaves a gate. Returns whether it has held it.
    local function leave_gate(gate, id)
        local text = packed_of(gate)
        if not text then return false end
        if text == SPILLED then return release(gate, id) end
        local stop = holders_end(text)
        local from, to = find(text, '\n' .. id .. '\n', 2, true)
        if not from or from >= stop or find(id, '\n', 1, true) then return false end
        if stop == to and stop + 1 == #text and byte(text) == ZERO + 1 then
            set_packed(gate, false)
        else
            local count = string.char(byte(text) - 1)
            set_packed(gate, count .. sub(text, 2, from - 1) .. sub(text, to))
        end
        return true
    end

    -- Whether a lane waits at a gate whose field says so.
    function self.waits_alone(lane)
        for _, gate in ipairs(read(lane).gates) do
            local text = packed_of(gate)
            if text and text ~= SPILLED then
                local _, state, _, waiting = lane_in(text)
                if state == WAITS and waiting == lane then return true end
            end
        end
        return false
    end

    -- Jobs have left gates: what they held is for others.
    function self.follow_released(gates_)
        for _, gate in ipairs(gates_) do stir_one(gate, true) end
    end

    -- Jobs have ended: what they held is for others. `lanes_`: the lane of each.
    function self.release_all(ids, lanes_)
        local left, is_left = {}, {}
        local before = self.together
        self.together = true
        for i, id in ipairs(ids) do
            for _, gate in ipairs(read(lanes_[i]).gates) do
                if leave_gate(gate, id) and not is_left[gate] then
                    is_left[gate], left[#left + 1] = true, gate
                end
            end
        end
        self.follow_released(left)
        self.flush()
        self.together = before
    end

    -- Lanes that a short way has visited wait, {lane, gate, time at which that opens or false, ...}, and others may follow
    -- at gates.
    function self.follow(parked, open)
        for i = 1, #parked, 3 do park(parked[i], parked[i + 1], parked[i + 2] or nil) end
        for _, gate in ipairs(open) do stir_one(gate) end
    end

    -- Forget what this call has read: a short way has written since.
    function self.refresh()
        lanes, gates, packed, empty, arrivals, stored_times, firsts = {}, {}, {}, {}, {}, {}, {}
        opening = nil
    end

    -- Forget jobs that have ended.
    function self.forget(ids)
        redis.call('HDEL', LANES, unpack(ids))
        if any_expires() then redis.call('HDEL', EXPIRES, unpack(ids)) end
    end

    -- Both, for one job.
    function self.leave(id, lane)
        self.forget({id})
        self.release_all({id}, {lane})
    end

    -- The jobs among these that take gates, or nil.
    function self.takers(ids)
        if not any_takes() then return nil end
        local found = redis.call('SMISMEMBER', TAKES, unpack(ids))
        for i, takes in ipairs(found) do found[i] = takes == 1 end
        return found
    end

    -- When the next gate opens by itself, in epoch seconds, or nil.
    function self.next_opening()
        if opening == nil then
            opening = tonumber(redis.call('ZRANGE', SLEEPING, '0', '0', 'WITHSCORES')[2] or nil) or false
        end
        return opening or nil
    end

    -- Look again at gates whose time has come.
    function self.open_gates()
        local next_time = self.next_opening()
        if not next_time or next_time > NOW then return end
        local due = redis.call('ZRANGEBYSCORE', SLEEPING, '-inf', before_now(0), 'LIMIT', 0, WOKEN)
        opening = nil
        for _, gate in ipairs(due) do
            redis.call('ZREM', SLEEPING, gate)
            local closed = closed_until(gate)
            if any_closed and not closed then slow.reopen(gate) end
            slow.stir(gate)
        end
    end

    -- The list of the first lane that may have a job that can start, or nil.
    function self.first_ready(level)
        local lane = redis.call('ZRANGE', rings[level], 0, 0)[1]
        return lane and read(lane).list
    end

    -- What the files after this one define is loaded when it is needed first: each function costs a call.

