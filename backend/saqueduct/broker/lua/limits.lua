-- Inserted after the prelude into the scripts that move jobs. Jobs with limits do not wait in the queue's lists, but in lanes.
-- A lane is a list of jobs that wait for the same: its name is their priority and their gates, separated by newlines. A
-- gate is a limit for one key: the limit's name, a tab, the key. So a job that must wait at a gate holds up none but those
-- that would wait there too. A lane with jobs has a place: in the ring of its priority, whose lanes take turns, or among
-- the waiters of one gate that was closed when its turn came. A fair task adds one more part to its lanes: '\1' and its
-- name, the key, and jobs a turn, separated by tabs. Of the lanes of such a key one at a time is in the ring. Kept below `flow:`
--   lanes           hash: job that has not ended -> its lane
--   lane:LANE       list: jobs that wait
--   places          hash: lane with jobs -> gate at which it waits, '' in the ring, or its fair part in the line of that
--   ring:PRIORITY   zset: lanes that may have a job that can start, by turn
--   waiters:GATE    zset: lanes and takers that wait at the gate, by priority and turn
--   takers:GATE     zset: the takers among them
--   held:GATE       set: jobs that run, takers, and jobs of an ordered limit that wait for another attempt
--   rate:GATE       the time from which on a start is no longer ahead of the rate (the theoretical arrival time of GCRA)
--   sleeping        zset: gates that open by themselves, by time
--   closed          hash: gate that a job has closed -> time until which no job may pass it, and the seconds that it took
--   expires         hash: job -> time after which it must not start; it passes all gates, and its worker ends it
--   limits          hash: limit -> rule: 'c N' so many at once, 'o N' the same in order, 'r N SECONDS BURST' a rate, 'u 0'
--                   no limit any more
--   declared        hash: limit -> rule, as the valid declaration has it
--   changed         hash: limit whose rule somebody has changed by hand -> the time, and who and why
--   turns           hash: priority and key of a fair task -> its lane that is in the ring
--   line:KEY        zset: other lanes of that key that may have a job that can start; one follows when that lane was visited
--   takes           set: running jobs that take gates
--   takes:JOB       hash: its calls of `take`: token -> '+' granted or '-' waiting, and gate
--   begun           hash: priority -> leases that found jobs in both its list and its lanes, which begin in turn
--   checked         hash: how far `check` has come
--   called          hash: lane that came into the ring because a gate had room -> its turn there, and the gate; '+' before
--                   the turn: no room is kept for it, because nobody else waited there, and no job took limits
--   called:GATE     zset: those lanes, by the time until which that room is kept for them; '+inf': a start of a rate is,
--                   until they have used it
--   missed          hash: lane -> how often a gate has called it, and was full when a worker had a slot for it
--   start:TOKEN     start of a rate that a taker got: the arrival time after it, and `returned` of the gate then
--   returned:GATE   seconds of a rate that were given back lately
-- A gate's slot is the lease: taken in the script that leases, released in the one that settles.
-- A running job may take a gate for a part of its run, see `take.lua`. Such a call is a taker: '\2', its token and the id of
-- its job. It waits among the waiters of the gate, and is in its set `held` as long as it has a slot.

-- Lanes of due gates that one call moves, and jobs that one visit takes.
local WOKEN, QUANTUM = 64, 16

-- Lanes that are read together, and entries of them, after which no other lane is: a command has 8,000 arguments at most.
local LANES_READ, ENTRIES_READ = 500, 1000

-- First digit of the score of what waits for a gate, before its turn: the priority.
local RANKS = {high = '1', normal = '2', low = '3'}

-- Scores from which on those of a priority wait: not above those that an earlier version has put in line.
local FIRST_SCORES = {high = '0', normal = '1125899906842624', low = '2251799813685248'}

-- Slots of a gate that one look sees.
local LOOKED_AT = 100

-- Seconds for which a gate keeps room for a lane that it has called, and after which it does so again: when no worker has
-- a slot for the lane, others may pass in between. Each time that they did, and a worker had a slot later, it does so for
-- twice as long, up to DOUBLED times.
local KEPT, KEPT_AGAIN, DOUBLED = 1, 5, 6

-- Seconds after the last of them for which these times are counted.
local REMEMBERED_MISSES = 3600

-- Seconds for which it is known that a taker got a start: its call is repeated if the connection breaks.
local REPEATED = 60

-- Seconds after which the line of takers of a gate is forgotten, if none of them asks again: a day.
local TAKERS_KEPT = 86400

-- Characters of the token of a taker.
local TOKEN = 16

load_limits = function()
    -- Functions of `load_slow`.
    local self, slow = {}, {}
    local FAIR, CALLED, MISSED = BASE .. 'turns', BASE .. 'called', BASE .. 'missed'
    local SLEEPING, EXPIRES, RULES, CLOSED = BASE .. 'sleeping', BASE .. 'expires', BASE .. 'limits', BASE .. 'closed'
    local lanes, gates, rules = {}, {}, {}
    -- The byte '+', and numbers as text: to make it takes longer than most commands.
    local PLUS, TEXTS = 43, {'1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16'}
    local held_base, waiters_base, lane_base = BASE .. 'held:', BASE .. 'waiters:', BASE .. 'lane:'
    -- True in the script that leases, which wakes other workers itself.
    self.leasing = false
    -- True while many lanes move: what is written into a hash or a ring waits for `flush`, because a command costs more than
    -- what it writes.
    self.together = false

    -- The next turn, in 15 digits: as text, because to make text of a number takes longer than most commands. Ten of them
    -- are taken at once.
    local first_turn, turns = '', 10
    local function next_turn()
        if turns == 10 then
            first_turn, turns = string.format('%014.0f', redis.call('INCR', BASE .. 'turn')), 0
        end
        turns = turns + 1
        return first_turn .. string.sub('0123456789', turns, turns)
    end

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
        return string.byte(place) == 1
    end

    local function is_taker(member)
        return string.byte(member) == 2
    end

    local rings = {high = BASE .. 'ring:high', normal = BASE .. 'ring:normal', low = BASE .. 'ring:low'}

    -- The parts of a lane: its priority, ring, list and gates; of a fair one its key and the jobs of a turn.
    local function read(lane)
        local known = lanes[lane]
        if known then return known end
        local level, rest = string.match(lane, '^(%l+)\n?(.*)$')
        local found, part = {}, nil
        known = {level = level, ring = rings[level], gates = found, quantum = QUANTUM, list = lane_base .. lane, found = false,
            ordered = false, key = false}
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

    -- What this call knows of a gate: the names of its keys, and as far as they were looked up, its rule, how many hold it,
    -- and the arrival time of a rate.
    local function look_up(gate)
        local known = gates[gate]
        if not known then
            -- With its first values: a table that grows costs as much as a command.
            known = {name = gate, held = held_base .. gate, waiters = waiters_base .. gate,
                rule = false, holders = false, arrival = false}
            gates[gate] = known
        end
        return known
    end

    local function read_rule(name)
        local kind, limit, per, burst = string.match(redis.call('HGET', RULES, name) or 'c 1', '^(%a) (%S+) ?(%S*) ?(%S*)$')
        local rule = {kind = kind, limit = kind == 'u' and math.huge or tonumber(limit)}
        if kind == 'r' then rule.step, rule.burst = tonumber(per) / rule.limit, tonumber(burst) end
        return rule
    end

    -- A gate whose rule is gone lets one job through at a time.
    local function rule_of(gate)
        local known = look_up(gate)
        if not known.rule then
            local name = string.match(gate, '^[^\t]*')
            rules[name] = rules[name] or read_rule(name)
            known.rule = rules[name]
        end
        return known.rule
    end

    local function holders_of(gate)
        local known = look_up(gate)
        known.holders = known.holders or redis.call('SCARD', known.held)
        return known.holders
    end

    -- The gates of a lane as `look_up` knows them, with their rules.
    local function gates_of(lane)
        local known = read(lane)
        local found = known.found
        if not found then
            found = {}
            known.found = found
            for i, name in ipairs(known.gates) do
                local gate = gates[name] or look_up(name)
                local rule = gate.rule or rule_of(name)
                found[i], known.ordered = gate, rule.kind == 'o' or known.ordered
            end
        end
        return found
    end

    local function hold(gate, members)
        local known = look_up(gate)
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

    local function rate_key(gate)
        local known = look_up(gate)
        known.rate = known.rate or BASE .. 'rate:' .. gate
        return known.rate
    end

    -- Read the arrival times of all rates of these lanes with one command.
    local function read_arrivals(lanes_)
        local found, keys = {}, {}
        for _, lane in ipairs(lanes_) do
            local gates_ = gates_of(lane)
            for i = 1, #gates_ do
                local known = gates_[i]
                if known.rule.kind == 'r' and not known.arrival and known.stored_time == nil then
                    known.stored_time, found[#found + 1], keys[#keys + 1] = false, known, rate_key(known.name)
                end
            end
        end
        for first = 1, #keys, LANES_READ do
            local times = redis.call('MGET', unpack(keys, first, math.min(first + LANES_READ - 1, #keys)))
            for i, time in ipairs(times) do found[first + i - 1].stored_time = time end
        end
    end

    -- The arrival time of a rate; never further ahead than a full burst. If it is, because the limit was changed or the
    -- clock went back, it counts from now on: else the gate would open later the later it is looked at.
    local function arrival(gate, rule)
        local known = look_up(gate)
        if known.arrival then return known.arrival end
        local most = NOW + rule.burst * rule.step
        local stored_time = known.stored_time
        if stored_time == nil then stored_time = redis.call('GET', rate_key(gate)) end
        known.arrival = math.max(tonumber(stored_time or '0'), NOW)
        if known.arrival > most + 0.000001 then
            known.arrival = most
            redis.call('SET', known.rate, string.format('%.6f', most), 'KEEPTTL')
        end
        return known.arrival
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
        local slack = (rule.burst - 1) * rule.step - ((known.arrival or arrival(known.name, rule)) - NOW)
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

    local function set_arrival(gate, time)
        local known = look_up(gate)
        -- As it is stored.
        known.arrival = math.floor(time * 1000000 + 0.5) / 1000000
        redis.call('SET', rate_key(gate), time_text(time), 'PX', milliseconds(known.arrival - NOW))
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

    -- What `flush` writes: fields of a hash, false to delete one, and lanes of a ring.
    local hashes, added = {[PLACES] = {}, [CALLED] = {}}, {}

    local function set_field(hash, lane, value)
        if self.together then
            hashes[hash][lane] = value
        elseif value then
            redis.call('HSET', hash, lane, value)
        else
            redis.call('HDEL', hash, lane)
        end
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
                local set, deleted = {}, {}
                for lane, value in pairs(fields) do
                    if value then
                        set[#set + 1], set[#set + 2] = lane, value
                    else
                        deleted[#deleted + 1] = lane
                    end
                end
                hashes[hash] = {}
                in_parts('HSET', hash, set)
                in_parts('HDEL', hash, deleted)
            end
        end
        for ring, members in pairs(added) do
            added[ring] = nil
            in_parts('ZADD', ring, members)
        end
    end

    -- A field as it is after `flush`.
    local function field(hash, lane)
        local value = hashes[hash][lane]
        if value == nil then value = redis.call('HGET', hash, lane) end
        return value
    end

    -- The priority whose lanes `visit_some` visits, and whether a lane of another one is in a ring since.
    local visited, others_ready = nil, false

    -- Fair keys of which no lane is in the line, as far as that was looked up.
    local lineless = {}

    -- Put a lane at the end of its ring; a fair one at the end of the line of its key, if another of that is in the ring.
    -- `stays`: it has come from there, and its turn is not over.
    local function to_ring(lane, stays)
        local known = read(lane)
        if known.fair and not stays then
            local first = redis.call('HGET', FAIR, known.key)
            if first and first ~= lane then
                set_field(PLACES, lane, known.fair)
                lineless[known.key] = nil
                redis.call('ZADD', BASE .. 'line:' .. known.key, next_turn(), lane)
                return
            end
            redis.call('HSET', FAIR, known.key, lane)
        end
        if not stays then set_field(PLACES, lane, '') end
        add_to_ring(known.ring, next_turn(), lane)
        if known.level ~= visited then others_ready = true end
    end

    -- The turn of a fair lane is over: the next of its key has it, if there is one. Returns whether there is.
    local function pass_turn(lane)
        local known = read(lane)
        if lineless[known.key] then return false end
        local follower = redis.call('ZPOPMIN', BASE .. 'line:' .. known.key)[1]
        if not follower then return false end
        redis.call('HDEL', FAIR, known.key)
        to_ring(follower)
        return true
    end

    -- A lane has left the ring: the next of its key follows.
    local function end_turn(lane)
        local known = read(lane)
        if not known.fair or redis.call('HGET', FAIR, known.key) ~= lane then return end
        if not pass_turn(lane) then redis.call('HDEL', FAIR, known.key) end
    end

    -- `turn`: the one that it has not used; nil: it goes to the end.
    local function park(lane, gate, opens, turn)
        set_field(PLACES, lane, gate)
        redis.call('ZADD', look_up(gate).waiters, turn or RANKS[read(lane).level] .. next_turn(), lane)
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

    -- The same for a lane that alone has waited at its gate, while no job takes limits: nobody could use its room but lanes
    -- that were in the ring before it. So no room is kept, which the '+' before its turn says.
    local function call_alone(lane, gate, turn)
        set_field(CALLED, lane, '+' .. turn .. ' ' .. gate)
        to_ring(lane)
    end

    local function delete(keys)
        for first = 1, #keys, LANES_READ do
            redis.call('DEL', unpack(keys, first, math.min(first + LANES_READ - 1, #keys)))
        end
    end

    -- The same for many gates, at most of which no lane waits, or one. `released`: jobs have left each of them. Then its
    -- room is not counted: if a smaller limit has left none, the lane comes back from the ring with its turn.
    local function stir_all(gates_, released)
        local keys, emptied = {}, {}
        for i, gate in ipairs(gates_) do keys[i] = look_up(gate).waiters end
        if count_existing(keys) == 0 then return end
        local plain = not any_takes() and not is_any_closed()
        for i, gate in ipairs(gates_) do
            local first = plain and rule_of(gate).kind ~= 'r' and redis.call('ZRANGE', keys[i], '0', '1', 'WITHSCORES')
            -- Also of a taker whose calls have been evicted or removed by hand, without which no job seems to take gates.
            if not first or #first > 2 or first[1] and is_taker(first[1]) then
                slow.stir(gate)
            elseif first[1] and (released or room(gate) > 0) then
                emptied[#emptied + 1] = keys[i]
                call_alone(first[1], gate, first[2])
            end
        end
        if #emptied == 0 then return end
        delete(emptied)
        wake_others()
    end

    -- Gates that lanes have left open which are no longer in the ring.
    local left_open, is_left_open = {}, {}

    local function stir_left_open()
        if #left_open == 0 then return end
        local gates_ = left_open
        left_open, is_left_open = {}, {}
        stir_all(gates_)
    end

    -- A lane has left the ring: what it leaves open at its gates is for others; `except` the gate at which it waits.
    local function stir_others(lane, except)
        for _, gate in ipairs(read(lane).gates) do
            if gate ~= except then
                if not self.together then
                    slow.stir(gate)
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
        gates_of(lane)
        return read(lane).ordered
    end

    -- Of these gates those that have holders, of which none has if they are rates that never were anything else.
    local function with_holders(gates_)
        local keys = {}
        for i, gate in ipairs(gates_) do keys[i] = look_up(gate).held end
        return count_existing(keys) > 0 and gates_ or {}
    end

    local function joined(first, second)
        local both = {unpack(first)}
        for _, each in ipairs(second) do both[#both + 1] = each end
        return both
    end

    -- Jobs have ended: what they held is for others. `lanes_`: job -> lane.
    function self.release_all(ids, lanes_)
        local of_lane, leavers, rates, others, left = {}, {}, {}, {}, {}
        for _, id in ipairs(ids) do
            local members = of_lane[lanes_[id]]
            if members then members[#members + 1] = id else of_lane[lanes_[id]] = {id} end
        end
        for lane, members in pairs(of_lane) do
            for _, known in ipairs(gates_of(lane)) do
                local gate = known.name
                if not leavers[gate] then
                    local some = known.rule.kind == 'r' and rates or others
                    leavers[gate], some[#some + 1] = members, gate
                else
                    leavers[gate] = joined(leavers[gate], members)
                end
            end
        end
        for _, gates_ in ipairs({with_holders(rates), others}) do
            for _, gate in ipairs(gates_) do
                if release(gate, unpack(leavers[gate])) then left[#left + 1] = gate end
            end
        end
        if #left == 0 then return end
        local before = self.together
        self.together = true
        stir_all(left, true)
        self.flush()
        self.together = before
    end

    -- Forget jobs that have ended.
    function self.forget(ids)
        redis.call('HDEL', LANES, unpack(ids))
        if any_expires() then redis.call('HDEL', EXPIRES, unpack(ids)) end
    end

    -- Both, for one job.
    function self.leave(id, lane)
        self.forget({id})
        self.release_all({id}, {[id] = lane})
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

    function self.ready(level)
        self.flush()
        return redis.call('ZCARD', rings[level])
    end

    -- Whether it is the turn of the lanes of a priority, or of its list. Not from TURNS, by which priorities take turns: two
    -- steps a lease would always meet the same of them.
    function self.begin_with_lanes(level)
        return redis.call('HINCRBY', BASE .. 'begun', level, 1) % 2 == 0
    end

    -- The rings of all priorities.
    function self.rings()
        self.flush()
        return rings.high, rings.normal, rings.low
    end

    -- The list of the first lane that may have a job that can start, or nil.
    function self.first_ready(level)
        local lane = redis.call('ZRANGE', rings[level], 0, 0)[1]
        return lane and read(lane).list
    end

    -- What follows is loaded when it is needed first: each function that a script defines costs a call.

    -- What happens at gates with several lanes or takers, and to jobs that do not simply start and end.
    local function load_slow()
        local function job_of(member)
            return is_taker(member) and string.sub(member, TOKEN + 2) or member
        end

        local function holds(gate, member)
            return redis.call('SISMEMBER', look_up(gate).held, member) == 1
        end

        -- Takers wait with the lanes of normal priority.
        local function level_of(member)
            return is_taker(member) and 'normal' or read(member).level
        end

        -- Whose turn at a gate it is, and that turn: of the highest priority; about every tenth time of the lowest, so that
        -- none starves. By the microseconds: any counter that gates have in common may always meet one of them at the same
        -- step.
        local picks = tonumber(clock[2])
        local function first_waiter(waiters)
            picks = picks + 1
            if picks % 10 == 0 then
                local last = redis.call('ZRANGE', waiters, -1, -1)
                if not last[1] then return nil end
                local from = FIRST_SCORES[level_of(last[1])]
                local first = redis.call('ZRANGEBYSCORE', waiters, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
                if first[1] then return unpack(first) end
            end
            return unpack(redis.call('ZRANGE', waiters, 0, 0, 'WITHSCORES'))
        end

        -- The calls of a job to take gates.
        local function calls_of(id)
            return BASE .. 'takes:' .. id
        end

        -- What one of these calls has become: '+' or '-', and its gate.
        local function state_of(id, token)
            return string.match(redis.call('HGET', calls_of(id), token) or '', '^([+-])(.*)$')
        end

        -- Store what becomes of one of these calls: '+' granted, '-' it waits, '' it is over.
        local function note_take(id, token, state, gate)
            if state ~= '' then
                taking = true
                redis.call('HSET', calls_of(id), token, state .. gate)
                redis.call('SADD', TAKES, id)
            elseif redis.call('HDEL', calls_of(id), token) == 1 and redis.call('EXISTS', calls_of(id)) == 0 then
                redis.call('SREM', TAKES, id)
            end
        end

        local function seconds_returned(gate)
            return tonumber(redis.call('GET', BASE .. 'returned:' .. gate) or '0')
        end

        -- Set the arrival time of a rate back. How far that was done is known as long as any start from before is ahead of
        -- it.
        local function return_seconds(gate, seconds)
            local rule = rule_of(gate)
            local sum = string.format('%.6f', seconds_returned(gate) + seconds)
            redis.call('SET', BASE .. 'returned:' .. gate, sum, 'PX', milliseconds(rule.burst * rule.step))
            set_arrival(gate, math.max(NOW, arrival(gate, rule) - seconds))
        end

        -- A taker got a start: its call may be repeated, and the start be given back.
        local function note_start(gate, token)
            local rule = rule_of(gate)
            if rule.kind ~= 'r' then return end
            local time = arrival(gate, rule)
            local note = string.format('%.6f %.6f', time, seconds_returned(gate))
            redis.call('SET', BASE .. 'start:' .. token, note, 'PX', milliseconds(math.max(REPEATED, time - NOW)))
        end

        -- Nothing was done with a start: others get what has not passed of its time. With more of it, more would start at
        -- once than the rate allows. Returns whether there is any.
        local function return_start(gate, token)
            local key, rule = BASE .. 'start:' .. token, rule_of(gate)
            local time, before = string.match(redis.call('GET', key) or '', '^(%S+) (%S+)$')
            redis.call('DEL', key)
            if not time or rule.kind ~= 'r' then return false end
            local ahead = tonumber(time) - (seconds_returned(gate) - tonumber(before))
            local seconds = math.min(rule.step, ahead - NOW)
            -- Later than the arrival time: that was set back, because the limit was changed.
            if seconds <= 0 or ahead > arrival(gate, rule) + 0.000001 then return false end
            return_seconds(gate, seconds)
            return true
        end

        -- Let a taker pass a gate that is open, unless the lease of its job has run out: false if that may still be renewed.
        local function grant(gate, member)
            local id, token = job_of(member), string.sub(member, 2, TOKEN + 1)
            local deadline = redis.call('ZSCORE', LEASES, id)
            if not deadline then return note_take(id, token, '') end
            if tonumber(deadline) < SERVER then return false end
            take(gate, {member})
            note_take(id, token, '+', gate)
            note_start(gate, token)
            redis.call('PUBLISH', BASE .. 'take:' .. token, 'granted')
        end

        local function takers_at(gate)
            local known = look_up(gate)
            known.takers = known.takers or BASE .. 'takers:' .. gate
            return known.takers
        end

        local function line_up(gate, taker, turn)
            redis.call('ZADD', look_up(gate).waiters, turn, taker)
            redis.call('ZADD', takers_at(gate), turn, taker)
            -- Each asks again before that; what workers of a version without this line leave in it does not stay.
            redis.call('EXPIRE', takers_at(gate), TAKERS_KEPT)
        end

        -- Whether it has waited there.
        local function leave_line(gate, taker)
            redis.call('ZREM', takers_at(gate), taker)
            return redis.call('ZREM', look_up(gate).waiters, taker) == 1
        end

        -- The first taker that waits at a gate, and its turn.
        local function first_taker(gate)
            if not any_takes() then return nil end
            return unpack(redis.call('ZRANGE', takers_at(gate), 0, 0, 'WITHSCORES'))
        end

        local function called_by(gate)
            local known = look_up(gate)
            known.called = known.called or BASE .. 'called:' .. gate
            return known.called
        end

        -- The lane that a gate has called whose turn came first.
        local function first_called(lanes)
            self.flush()
            local first, first_turn, notes = nil, math.huge, redis.call('HMGET', CALLED, unpack(lanes))
            for i, lane in ipairs(lanes) do
                local turn = tonumber(string.match(notes[i] or '', '^%S+') or nil)
                if turn and turn < first_turn then first, first_turn = lane, turn end
            end
            return first
        end

        -- Keep a start of an open rate for a lane that it has called: takers may pass the lane as long as no worker has a
        -- slot for it, and then it starts, even if the rate is closed again. Not more than one: so no more start in the
        -- time of the rate than its limit and its burst. Returns whether it does so from now on.
        local function keep_start(gate)
            if rule_of(gate).kind ~= 'r' or not any_takes() then return false end
            local called = called_by(gate)
            if redis.call('ZRANGE', called, -1, -1, 'WITHSCORES')[2] == 'inf' then return false end
            local lane = first_called(redis.call('ZRANGE', called, 0, WOKEN - 1))
            if not lane then return false end
            take(gate, {lane})
            redis.call('ZADD', called, '+inf', lane)
            return true
        end

        -- How many may start at a gate, when it opens by itself, for how many of the lanes that it has called it keeps
        -- room, of how many, and when it keeps less; without one for which it keeps a start.
        local function shared_room(gate)
            local free, opens = room(gate)
            local called = called_by(gate)
            local count = free > 0 and redis.call('ZCOUNT', called, '-inf', '(+inf') or 0
            if count == 0 then return free, opens, 0, 0 end
            if keep_start(gate) then
                free, opens = room(gate)
                count = count - 1
            end
            local again = redis.call('ZRANGEBYSCORE', called, '-inf', before_now(KEPT_AGAIN - KEPT), 'LIMIT', 0, WOKEN)
            for _, lane in ipairs(again) do redis.call('ZADD', called, before_now(-KEPT), lane) end
            -- Not later: the clock went back.
            local now, latest = '(' .. before_now(0), before_now(-KEPT * 2 ^ DOUBLED)
            local first = redis.call('ZRANGEBYSCORE', called, now, latest, 'WITHSCORES', 'LIMIT', 0, 1)
            return free, opens, redis.call('ZCOUNT', called, now, latest), count, tonumber(first[2] or nil)
        end

        -- When it is of use for a taker to ask again: after so many seconds, or '' if that depends on others.
        local function wait_of(gate, member)
            local free, opens, _, _, until_then = shared_room(gate)
            if free > 0 and until_then then return string.format('%.6f', until_then - NOW) end
            if not opens then return '' end
            local before = member ~= first_taker(gate) and redis.call('ZRANK', look_up(gate).waiters, member) or 0
            return string.format('%.6f', opens - NOW + before * (rule_of(gate).step or 0))
        end

        -- Tell the first taker in line when to ask again: that has changed.
        local function let_ask(gate)
            local first = first_taker(gate)
            if first then redis.call('PUBLISH', BASE .. 'take:' .. string.sub(first, 2, TOKEN + 1), wait_of(gate, first)) end
        end

        -- A gate has room for a lane: it leaves the line there for the ring, and the room is kept for it. Its turn in the
        -- line is used up only when one of its jobs starts.
        local function call(lane, gate, turn)
            local missed = any_missed() and tonumber(redis.call('HGET', MISSED, lane) or nil) or 0
            local seconds = KEPT * 2 ^ math.min(missed, DOUBLED)
            set_field(CALLED, lane, turn .. ' ' .. gate)
            redis.call('ZADD', called_by(gate), before_now(-seconds), lane)
            to_ring(lane)
            return NOW + seconds
        end

        -- A worker had a slot for a lane that a gate has called: did it start a job, or was the gate full?
        local function note_visit(lane, gate, full)
            if not full then return any_missed() and redis.call('HDEL', MISSED, lane) end
            if not any_takes() or rule_of(gate).kind == 'r' then return end
            missing = true
            redis.call('HINCRBY', MISSED, lane, 1)
            redis.call('EXPIRE', MISSED, REMEMBERED_MISSES)
        end

        -- A lane leaves the ring. `note`: its entry of `called`. Returns its turn and the gate that has called it, if one
        -- has, and whether that has kept a start for it: not if the rate has been at rest since then, as it is open for the
        -- lane anyway. If another job starts after such a rest before the lane does, one more than the burst may start at
        -- once.
        local function end_call(lane, note)
            local turn, gate = string.match(note or '', '^(%S+) (.*)$')
            if not turn then return nil end
            set_field(CALLED, lane, false)
            if string.byte(turn) == PLUS then return string.sub(turn, 2), gate, false end
            local rule, called = rule_of(gate), called_by(gate)
            local kept = rule.kind == 'r' and redis.call('ZSCORE', called, lane) == 'inf'
            redis.call('ZREM', called, lane)
            return turn, gate, kept and arrival(gate, rule) > NOW
        end

        -- Let those go that wait at a gate that is open, in their order: takers, and lanes into the ring. When as many
        -- lanes as it has room for have been in the ring for too long, because no worker has a slot for them, takers may
        -- pass lanes.
        local function stir(gate)
            local waiters = look_up(gate).waiters
            local waiting = redis.call('ZCARD', waiters)
            if waiting == 0 then return end
            local free, opens, kept, called, until_then = shared_room(gate)
            local moved, granted, late = 0, 0, {}
            while free > kept and waiting > 0 and moved < WOKEN do
                local first, turn = first_waiter(waiters)
                if first and called >= free and not is_taker(first) then first, turn = first_taker(gate) end
                if not first then break end
                waiting = waiting - 1
                if is_taker(first) then
                    -- One that no longer waits was left there by a worker of a version without this line.
                    if not leave_line(gate, first) then
                        waiting = waiting + 1
                    elseif grant(gate, first) == false then
                        late[#late + 1] = {first, turn}
                    end
                    granted = granted + 1
                    free, opens = room(gate)
                else
                    redis.call('ZREM', waiters, first)
                    local kept_until = call(first, gate, turn)
                    moved = moved + 1
                    if any_takes() then
                        free, opens, kept, called, until_then = shared_room(gate)
                    else
                        kept, called, until_then = kept + 1, called + 1, until_then or kept_until
                    end
                end
            end
            for _, each in ipairs(late) do line_up(gate, unpack(each)) end
            if free <= 0 then
                if opens then sleep(gate, opens) end
            elseif until_then and (waiting > 0 or #late > 0) then
                sleep(gate, until_then)
            end
            if moved + granted > 0 then let_ask(gate) end
            if moved > 0 then wake_others() end
        end

        -- A lane has no more jobs.
        local function drop(lane)
            self.flush()
            local place = redis.call('HGET', PLACES, lane)
            if not place then return end
            local _, gate, kept = end_call(lane, redis.call('HGET', CALLED, lane))
            if kept then return_seconds(gate, rule_of(gate).step) end
            forget_lane(lane)
            if place == '' then
                redis.call('ZREM', read(lane).ring, lane)
                end_turn(lane)
            else
                redis.call('ZREM', is_fair(place) and BASE .. 'line:' .. read(lane).key or look_up(place).waiters, lane)
            end
            stir_others(lane)
        end

        -- Whether a job has kept a slot of an ordered limit between its attempts.
        local function keeps(id, lane)
            for _, gate in ipairs(read(lane).gates) do
                if holds(gate, id) then return true end
            end
            return false
        end

        -- Store the limits of a new job: its lane, name and rule of each limit, and its expiry or ''.
        function self.join(id, lane, named, expires)
            for i = 1, #named, 2 do redis.call('HSETNX', RULES, named[i], named[i + 1]) end
            redis.call('HSET', LANES, id, lane)
            if expires ~= '' then self.expire(id, expires) end
        end

        -- Put a job at the front of an ordered lane that has kept no slot: after those that have, which it would hold up.
        local function put_after_kept(id, lane)
            local list, last, at = read(lane).list, nil, 0
            while true do
                local entry = redis.call('LINDEX', list, at)
                if not entry or redis.call('HGET', LANES, entry) == lane and not keeps(entry, lane) then break end
                last, at = entry, at + 1
            end
            if last then redis.call('LINSERT', list, 'AFTER', last, id) else redis.call('LPUSH', list, id) end
        end

        -- Put a job at the end of its lane, or at its front.
        function self.wait_in(id, lane, front)
            local ordered = is_ordered(lane)
            local kept = ordered and keeps(id, lane)
            if front and ordered and not kept then
                put_after_kept(id, lane)
            else
                redis.call((front or kept) and 'LPUSH' or 'RPUSH', read(lane).list, id)
            end
            front = front or kept
            local place = field(PLACES, lane)
            if place and place ~= '' and not is_fair(place) then
                -- It waits at a gate; a job that has kept its slot there may pass.
                if not front or not holds(place, id) then return end
                redis.call('ZREM', look_up(place).waiters, lane)
                place = nil
            end
            if not place then to_ring(lane) end
            wake()
        end

        -- Let no job pass a gate for so many seconds.
        function self.close(gate, seconds)
            local opens = math.max(NOW + seconds, closed_until(gate) or 0)
            redis.call('HSET', CLOSED, gate, string.format('%.6f %.6f', opens, opens - NOW))
            any_closed = true
            sleep(gate, opens)
        end

        -- Let a job that runs hold a gate too. Returns whether it did not.
        function self.hold(gate, id)
            return hold(gate, {id}) == 1
        end

        -- The attempt of a job has ended, and another follows: it keeps the slots of ordered limits. `expires`: the time
        -- after which it must not start, or ''.
        function self.pass(id, lane, expires)
            if expires ~= '' then
                self.expire(id, expires)
            elseif any_expires() then
                redis.call('HDEL', EXPIRES, id)
            end
            for _, gate in ipairs(read(lane).gates) do
                if rule_of(gate).kind ~= 'o' and release(gate, id) then stir(gate) end
            end
        end

        -- A call to take a gate is over: the job leaves it, or waits no longer. `unused`: it has done nothing with it.
        function self.give(id, token, at, unused)
            local returned = unused and return_start(at, token)
            local state, gate = state_of(id, token)
            gate = gate or at
            local member = '\2' .. token .. id
            local first = state == '-' and first_taker(gate) == member
            if state then
                note_take(id, token, '')
                leave_line(gate, member)
            end
            if state and release(gate, member) or returned then stir(gate) end
            if first or returned then let_ask(gate) end
        end

        -- The attempt of a job has ended, and with it its calls to take gates. Those that wait first: they get no place
        -- that the job gives back.
        function self.give_all(id)
            local calls, stirred, left = redis.call('HGETALL', calls_of(id)), {}, {}
            redis.call('DEL', calls_of(id))
            redis.call('SREM', TAKES, id)
            for i = 1, #calls, 2 do
                local member, gate = '\2' .. calls[i] .. id, string.sub(calls[i + 1], 2)
                if leave_line(gate, member) then left[gate] = true end
                if release(gate, member) then stirred[gate] = true end
            end
            for gate in pairs(stirred) do stir(gate) end
            for gate in pairs(left) do let_ask(gate) end
        end

        -- Take a gate for a running job, or wait for it; see `take.lua`.
        function self.take(id, gate, name, rule, token)
            redis.call('HSETNX', RULES, name, rule)
            local lane = redis.call('HGET', LANES, id)
            if lane and rule_of(gate).kind ~= 'r' and string.find('\n' .. lane .. '\n', '\n' .. gate .. '\n', 1, true) then
                return 'own'
            end
            taking = true
            local member, waiters = '\2' .. token .. id, look_up(gate).waiters
            local mine = state_of(id, token)
            if mine == '+' then return 'granted' end
            if not mine and rule_of(gate).kind == 'r' and redis.call('EXISTS', BASE .. 'start:' .. token) == 1 then
                return 'free'
            end
            if not mine and redis.call('EXISTS', waiters) == 0 then
                local free, _, kept = shared_room(gate)
                if free > kept then
                    take(gate, {member})
                    note_start(gate, token)
                    -- Of a start of a rate nothing is left to give back.
                    if rule_of(gate).kind == 'r' then return 'free' end
                    note_take(id, token, '+', gate)
                    return 'granted'
                end
            end
            line_up(gate, member, redis.call('ZSCORE', waiters, member) or RANKS.normal .. next_turn())
            if not mine then note_take(id, token, '-', gate) end
            stir(gate)
            if state_of(id, token) == '+' then return 'granted' end
            return wait_of(gate, member)
        end

        -- Remove a waiting job. Returns how many entries it had in its lane.
        function self.withdraw(id, lane)
            local list, removed = read(lane).list, 0
            if redis.call('LLEN', list) <= SHORT then removed = redis.call('LREM', list, 0, id) end
            self.leave(id, lane)
            if redis.call('EXISTS', list) == 0 then drop(lane) end
            return removed
        end

        -- A gate that a job has closed is open again: those that have kept their slots at it may pass, although it is full.
        local function reopen(gate)
            if redis.call('HDEL', CLOSED, gate) == 0 then return end
            stir(gate)
            if rule_of(gate).kind ~= 'o' then return end
            for _, id in ipairs(redis.call('SMEMBERS', look_up(gate).held)) do
                local lane = redis.call('HGET', LANES, id)
                if lane and field(PLACES, lane) == gate then
                    redis.call('ZREM', look_up(gate).waiters, lane)
                    to_ring(lane)
                    wake_others()
                end
            end
        end

        slow.call = call
        slow.calls_of = calls_of
        slow.drop = drop
        slow.end_call = end_call
        slow.holds = holds
        slow.job_of = job_of
        slow.let_ask = let_ask
        slow.note_visit = note_visit
        slow.reopen = reopen
        slow.return_seconds = return_seconds
        slow.stir = stir
    end

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

        -- Look with one command whether other lanes of their fair keys are in line.
        local function look_for_lines(names)
            local keys, lines = {}, {}
            for _, lane in ipairs(names) do
                local key = read(lane).key
                if key then keys[#keys + 1], lines[#lines + 1] = key, BASE .. 'line:' .. key end
            end
            if #keys == 0 or count_existing(lines) > 0 then return end
            for _, key in ipairs(keys) do lineless[key] = true end
        end

        -- What a visit of each of these lanes needs to know; read together.
        local function known_of(found)
            local names, keys, ids, fair = {}, {}, {}, false
            for i, looked in ipairs(found) do
                names[i], keys[i], looked.from = looked.lane, looked.parts.key or '', #ids
                fair = fair or looked.parts.fair
                for j = 1, #looked.entries do ids[#ids + 1] = looked.entries[j] end
            end
            look_for_more(found)
            look_for_lines(names)
            local known = {called = redis.call('HMGET', CALLED, unpack(names))}
            if fair then known.turns = redis.call('HMGET', FAIR, unpack(keys)) end
            if #ids > 0 then
                known.owners = redis.call('HMGET', OWNERS, unpack(ids))
                known.scores = redis.call('ZMSCORE', INCOMPLETE, unpack(ids))
                known.lanes = redis.call('HMGET', LANES, unpack(ids))
                known.expires = any_expires() and redis.call('HMGET', EXPIRES, unpack(ids))
            end
            known.plain = not known.expires and not any_takes() and not any_missed() and not is_any_closed()
            return known
        end

        -- Take so many lanes from a ring; returns them, and all that ZPOPMIN has returned.
        local function pop_lanes(level, count)
            local popped, names = redis.call('ZPOPMIN', rings[level], TEXTS[count] or count), {}
            for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
            read_arrivals(names)
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
            for _, each in ipairs((empty or is_ordered(lane)) and {} or read(lane).gates) do
                local free, at = room(each)
                if free <= 0 then
                    gate, opens = each, at
                    break
                end
            end
            if not empty and not gate and turn then return slow.call(lane, caller, turn) end
            if not empty and not gate then return to_ring(lane, stays) end
            if stays then end_turn(lane) end
            if empty then
                forget_lane(lane)
            else
                park(lane, gate, opens, turn)
            end
            stir_others(lane, gate)
        end

        -- Of a lane that has let jobs start: the first gate that has no room for another, and when it opens by itself.
        local function full_gate(lane)
            local found = gates_of(lane)
            for i = 1, #found do
                local free, opens = open_room(found[i])
                if free <= 0 then return found[i].name, opens end
            end
        end

        -- Whether all popped entries of a lane are jobs that may start; then they are in `seen`.
        local function may_all_start(looked, known, note, want, seen)
            local lane, entries = looked.lane, looked.entries
            if not known.plain or looked.parts.ordered or note and string.byte(note) ~= PLUS then return false end
            if not looked.popped or #entries == 0 or #entries > want then return false end
            -- Another lane may have taken what there was when this one was looked at.
            local found = looked.parts.found
            for i = 1, #found do
                if open_room(found[i]) < #entries then return false end
            end
            local scores, owners, lanes_, n = known.scores, known.owners, known.lanes, looked.from
            for i = 1, #entries do
                n = n + 1
                local id = entries[i]
                if scores[n] ~= '0' or owners[n] or lanes_[n] ~= lane or seen[id] then
                    for j = 1, i - 1 do seen[entries[j]] = nil end
                    return false
                end
                seen[id] = true
            end
            return true
        end

        -- What most visits are, in short: all entries are jobs that start, at gates of which the queue uses nothing rare.
        -- Returns whether it was that.
        local function visit_plain(looked, known, position, want, ids, seen)
            local lane, entries, note = looked.lane, looked.entries, known.called[position] or nil
            if not may_all_start(looked, known, note, want, seen) then return false end
            local parts, count = looked.parts, #entries
            if note then set_field(CALLED, lane, false) end
            local stays = not parts.fair or known.turns[position] == lane and not pass_turn(lane)
            for i = 1, count do ids[#ids + 1] = entries[i] end
            for i = 1, #parts.found do
                local gate = parts.found[i]
                if gate.rule.kind == 'r' then
                    set_arrival(gate.name, gate.arrival + count * gate.rule.step)
                else
                    gate.holders = gate.holders + redis.call('SADD', gate.held, unpack(entries))
                end
            end
            if looked.all or not looked.more and redis.call('EXISTS', parts.list) == 0 then
                if stays then end_turn(lane) end
                forget_lane(lane)
                stir_others(lane)
                return true
            end
            local gate, opens = full_gate(lane)
            if not gate then
                to_ring(lane, stays)
                return true
            end
            if stays then end_turn(lane) end
            park(lane, gate, opens)
            stir_others(lane, gate)
            return true
        end

        -- Let jobs of a lane start, up to `want`, and put it where it belongs.
        local function visit_lane(looked, known, position, want, ids, seen)
            if visit_plain(looked, known, position, want, ids, seen) then return end
            local lane = looked.lane
            local turn, caller, kept = slow.end_call(lane, known.called[position])
            kept = kept and caller
            local stays = not read(lane).fair or known.turns[position] == lane and not pass_turn(lane)
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
                if stays then end_turn(lane) end
                park(lane, limiting, opens, turn)
                return stir_others(lane, limiting)
            end
            local empty = consumed == #looked.entries
            empty = empty and (looked.all or not looked.more and redis.call('EXISTS', read(lane).list) == 0)
            settle_down(lane, empty, #taken == 0 and turn, caller, stays)
        end

        -- Take jobs from the next lane of a ring; adds up to `want` of them to `ids`.
        function self.visit(level, want, ids, seen)
            local lanes_, known = next_lanes(level, want, 1)
            if #lanes_ > 0 then visit_lane(lanes_[1], known, 1, want, ids, seen) end
            stir_left_open()
        end

        -- Visit lanes of the only priority that has some, until `ids` has `want` jobs, or others have lanes too. Returns
        -- how many visits that took, `most` at most.
        function self.visit_some(level, want, ids, seen, most)
            visited, others_ready = level, false
            local visits = 0
            while visits < most and #ids < want and not others_ready do
                local looked, known = next_lanes(level, want - #ids, most - visits)
                if #looked == 0 then break end
                local left = {}
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
            end
            stir_left_open()
            return visits
        end
    end

    -- Repair, changes by hand and declarations, and what people ask.
    local function load_checks()
        -- Repair some of what a fault may have left: entries of jobs that stock workers or an operator have removed, slots
        -- that no job holds, lanes without a place. `most`: about how many entries of each hash.
        function self.check(most)
            local from = redis.call('HMGET', BASE .. 'checked', 'lanes', 'places', 'takes')
            local page = redis.call('HSCAN', LANES, from[1] or '0', 'COUNT', most)
            for i = 1, #page[2], 2 do
                local id, lane = page[2][i], page[2][i + 1]
                if not redis.call('ZSCORE', INCOMPLETE, id) and redis.call('HEXISTS', OWNERS, id) == 0 then
                    self.leave(id, lane)
                elseif redis.call('HEXISTS', PLACES, lane) == 0 and redis.call('EXISTS', read(lane).list) == 1 then
                    to_ring(lane)
                    wake()
                end
            end
            local second = redis.call('HSCAN', PLACES, from[2] or '0', 'COUNT', most)
            for i = 1, #second[2], 2 do self.check_lane(second[2][i]) end
            local third = redis.call('SSCAN', TAKES, from[3] or '0', 'COUNT', most)
            for _, id in ipairs(third[2]) do
                if redis.call('HEXISTS', OWNERS, id) == 0 then self.give_all(id) end
            end
            redis.call('HSET', BASE .. 'checked', 'lanes', page[1], 'places', second[1], 'takes', third[1])
        end

        -- Release the slots at a gate whose jobs neither run nor wait.
        local function check_held(gate)
            for _, member in ipairs(redis.call('SRANDMEMBER', look_up(gate).held, LOOKED_AT)) do
                local id = slow.job_of(member)
                local waits = not is_taker(member) and rule_of(gate).kind == 'o' and redis.call('HEXISTS', LANES, id) == 1
                if not waits and redis.call('HEXISTS', OWNERS, id) == 0 then
                    release(gate, member)
                end
            end
        end

        local DECLARED_RULES, CHANGED = BASE .. 'declared', BASE .. 'changed'

        -- Set the rule of a limit by hand, or as it is declared (''); see `set_limit.lua`.
        function self.change(name, rule, note, known)
            redis.call('HSETNX', DECLARED_RULES, name, known)
            if rule == '' then
                rule, note = redis.call('HGET', DECLARED_RULES, name), ''
                redis.call('HDEL', CHANGED, name)
            else
                note = string.format('%.6f ', NOW) .. note
                redis.call('HSET', CHANGED, name, note)
            end
            local before = redis.call('HGET', RULES, name) or known
            redis.call('HSET', RULES, name, rule)
            return {before ~= rule and 1 or 0, note}
        end

        -- A gate as `explain` returns it. `waiter`: the lane or the taker that waits.
        local function explained(gate, waiter, most)
            local free, opens = room(gate)
            local held, waiters = look_up(gate).held, look_up(gate).waiters
            local holders = redis.call('SRANDMEMBER', held, most)
            for i, member in ipairs(holders) do holders[i] = slow.job_of(member) end
            return {
                gate,
                redis.call('HGET', RULES, string.match(gate, '^[^\t]*')) or 'c 1',
                -- A limit that is lifted has no number.
                free == math.huge and 1 or math.max(0, free),
                opens and string.format('%.6f', opens) or '',
                closed_until(gate) and '1' or '0',
                holders_of(gate),
                redis.call('ZCARD', waiters),
                redis.call('ZRANK', waiters, waiter) or -1,
                holders,
            }
        end

        -- What a job in a lane waits for. Returns {time, jobs before it in its lane or -1 if unknown; then for each gate
        -- {gate, rule, how many may start, when it opens by itself or '', '1' if a job has closed it, jobs that hold it,
        -- lanes and takers that wait at it, those of them before this lane or -1, ids of some jobs that hold it}}.
        function self.explain(id, lane, most)
            local before = redis.call('LPOS', read(lane).list, id, 'MAXLEN', SHORT)
            local answer = {string.format('%.6f', NOW), before or -1}
            for _, gate in ipairs(read(lane).gates) do answer[#answer + 1] = explained(gate, lane, most) end
            return answer
        end

        -- The same for a running job that waits to take gates; {} if it does not.
        function self.explain_takes(id, most)
            local answer = {string.format('%.6f', NOW), 0}
            local calls = redis.call('HGETALL', slow.calls_of(id))
            for i = 1, #calls, 2 do
                local token, state, gate = calls[i], string.match(calls[i + 1], '^([+-])(.*)$')
                if state == '-' then answer[#answer + 1] = explained(gate, '\2' .. token .. id, most) end
            end
            return #answer > 2 and answer or {}
        end

        -- Store the rules of a declaration, and lift the limits that it leaves out. What is changed by hand stays, until
        -- another number is declared. Returns the names of those that changed.
        function self.declare(named)
            local before, changed, declared = redis.call('HGETALL', DECLARED_RULES), {}, {}
            local earlier = {}
            for i = 1, #before, 2 do earlier[before[i]] = before[i + 1] end
            local function set(name, rule)
                if earlier[name] == rule and redis.call('HEXISTS', CHANGED, name) == 1 then return end
                redis.call('HDEL', CHANGED, name)
                if redis.call('HGET', RULES, name) ~= rule then
                    redis.call('HSET', RULES, name, rule)
                    changed[#changed + 1] = name
                end
            end
            for i = 1, #named, 2 do
                declared[named[i]] = true
                redis.call('HSET', DECLARED_RULES, named[i], named[i + 1])
                set(named[i], named[i + 1])
            end
            for i = 1, #before, 2 do
                if not declared[before[i]] then
                    redis.call('HDEL', DECLARED_RULES, before[i])
                    set(before[i], 'u 0')
                end
            end
            return changed
        end

        -- Look again at those gates of some limits at which lanes wait; see `stir.lua`.
        function self.stir_waiting(cursor, most, changed)
            if cursor == '0' then
                local gates = {}
                for _, id in ipairs(redis.call('SMEMBERS', TAKES)) do
                    for _, state in ipairs(redis.call('HVALS', slow.calls_of(id))) do
                        gates[string.match(state, '^%-(.*)$') or ''] = true
                    end
                end
                for gate in pairs(gates) do
                    if changed[string.match(gate, '^[^\t]*')] then
                        slow.stir(gate)
                        slow.let_ask(gate)
                    end
                end
            end
            local page = redis.call('HSCAN', PLACES, cursor, 'COUNT', most)
            for i = 2, #page[2], 2 do
                local gate = page[2][i]
                if gate ~= '' and changed[string.match(gate, '^[^\t]*')] then slow.stir(gate) end
            end
            return page[1]
        end

        function self.check_lane(lane)
            -- Not as the scan found it: the check of another lane may have moved it since.
            local place = redis.call('HGET', PLACES, lane)
            if not place then return end
            if redis.call('EXISTS', read(lane).list) == 0 then return slow.drop(lane) end
            if place == '' then
                if not redis.call('ZSCORE', read(lane).ring, lane) then to_ring(lane) end
                return
            end
            if is_fair(place) then
                local line, first = BASE .. 'line:' .. read(lane).key, redis.call('HGET', FAIR, read(lane).key)
                if first and redis.call('ZSCORE', read(first).ring, first) then
                    if not redis.call('ZSCORE', line, lane) then redis.call('ZADD', line, next_turn(), lane) end
                else
                    redis.call('HDEL', FAIR, read(lane).key)
                    redis.call('ZREM', line, lane)
                    to_ring(lane)
                    wake()
                end
                return
            end
            if not redis.call('ZSCORE', look_up(place).waiters, lane) then park(lane, place) end
            if rule_of(place).kind ~= 'r' then check_held(place) end
            slow.stir(place)
        end
    end

    local loaders = {visit = load_visits, visit_some = load_visits}
    for _, name in ipairs({'check', 'check_lane', 'change', 'explain', 'explain_takes', 'declare', 'stir_waiting'}) do
        loaders[name] = load_checks
    end
    setmetatable(slow, {__index = function(_, name)
        load_slow()
        return rawget(slow, name)
    end})
    setmetatable(self, {__index = function(_, name)
        local load = loaders[name] or load_slow
        load()
        return rawget(self, name)
    end})

    return self
end
