-- Inserted after the prelude into the scripts that move jobs with limits, before `limits.lua`, which says what is kept where:
-- what the short ways of `quick_visits.lua` and `releases.lua` have in common with the general one. These files, but for
-- `releases.lua`, are one function, which `flow.lua` ends: plain jobs do not pay for what it defines.
load_flow = function()
local flow = {}
local GATES, RULES = BASE .. 'gates', BASE .. 'limits'
local FAIR, LINED = BASE .. 'turns', BASE .. 'lined'
local CALLED, MISSED, SLEEPING = BASE .. 'called', BASE .. 'missed', BASE .. 'sleeping'
local EXPIRES, CLOSED = BASE .. 'expires', BASE .. 'closed'
local RATES, CHECKED = BASE .. 'rates', BASE .. 'checked'
local lane_base = BASE .. 'lane:'
local find, sub, byte = string.find, string.sub, string.byte

-- Jobs that one visit takes of a lane that is not fair, and fields or entries that one command reads: it has 8,000
-- arguments at most.
local QUANTUM, FIELDS_READ = 16, 4000

-- First digit of the score of what waits for a gate, before its turn: the priority.
local RANKS = {high = '1', normal = '2', low = '3'}

-- The field of a gate with keys of its own; the bytes '0', 'w' before the lane that waits at a gate, and '+'.
local SPILLED, ZERO, WAITS, PLUS = 's', 48, 119, 43

local DIGITS = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

-- The next turn, in 15 digits: as text, because to make text of a number takes longer than most commands. Ten of them
-- are taken at once.
local first_turn, turns = '', 9
local function next_turn()
    if turns == 9 then
        first_turn, turns = string.format('%014.0f', redis.call('INCR', BASE .. 'turn')), -1
    end
    turns = turns + 1
    return first_turn .. DIGITS[turns]
end

-- Where the gates of a lane begin, the jobs of a turn, and of a fair one where its key ends, else false.
local function shape_of(lane)
    local from = find(lane, '\n', 3, true)
    if not from then return #lane + 1, QUANTUM, false end
    if byte(lane, from + 1) ~= 1 then return from + 1, QUANTUM, false end
    local stop = find(lane, '\n', from + 2, true) or #lane + 1
    local tab, digit = byte(lane, stop - 2, stop - 1)
    if tab == 9 then return stop + 1, digit - ZERO, stop - 3 end
    local weight = string.match(sub(lane, from, stop - 1), '\t(%d+)$')
    return stop + 1, tonumber(weight), stop - #weight - 2
end

-- The key of a fair lane, or false.
local function key_of(lane)
    local _, _, stop = shape_of(lane)
    return stop and sub(lane, 1, stop)
end

-- Jobs that hold a gate whose field says so, at most.
local PACKED = 8

-- The rule of a gate. If it is gone, one job at a time may pass. `packed`: how many jobs a field lets hold it; of a rate the
-- seconds by which a start may be ahead, and its time after a full burst.
local rules, last_name, last_rule = {}, nil, nil
local function rule_of(gate)
    if last_name and find(gate, last_name, 1, true) == 1 then return last_rule end
    local tab = find(gate, '\t', 1, true)
    local name = tab and sub(gate, 1, tab - 1) or gate
    local rule = rules[name]
    if tab and rule then last_name, last_rule = sub(gate, 1, tab), rule end
    if rule then return rule end
    local kind, limit, per, burst = string.match(redis.call('HGET', RULES, name) or 'c 1', '^(%a) (%S+) ?(%S*) ?(%S*)$')
    rule = {kind = kind, limit = kind == 'u' and math.huge or tonumber(limit), step = false, burst = false, packed = 0}
    if kind == 'r' then
        rule.step, rule.burst = tonumber(per) / rule.limit, tonumber(burst)
        rule.slack, rule.longest = (rule.burst - 1) * rule.step, rule.burst * rule.step + 0.000001
    elseif kind ~= 'o' then
        rule.packed = math.min(rule.limit, PACKED)
    end
    rules[name] = rule
    return rule
end

-- Write `n` texts as fields of a hash and their values, {field, value, ...}, and delete `m` fields.
local function write_lists(hash, set, n, deleted, m)
    if n >= 2 * AS_TABLE_FROM then
        set[n + 1], set[n + 2], deleted[m + 1] = LONG, '', LONG
        n, m = n + 2, m + 1
    end
    for i = 1, n, FIELDS_READ do redis.call('HSET', hash, unpack(set, i, math.min(i + FIELDS_READ - 1, n))) end
    for i = 1, m, FIELDS_READ do redis.call('HDEL', hash, unpack(deleted, i, math.min(i + FIELDS_READ - 1, m))) end
end

-- Write fields of a hash together: false deletes one.
local function write_fields(hash, fields)
    local set, deleted, n, m = {}, {}, 0, 0
    for name, value in pairs(fields) do
        if value then
            set[n + 1], set[n + 2] = name, value
            n = n + 2
        else
            m = m + 1
            deleted[m] = name
        end
    end
    write_lists(hash, set, n, deleted, m)
end

-- Rates up to which those at rest are left to the sweep.
local RATES_KEPT = 20000

-- Forget rates that are at rest, of about so many that this looks at: a field has no expiry.
local function forget_rates(most)
    local page = redis.call('HSCAN', RATES, redis.call('HGET', CHECKED, 'rates') or '0', 'COUNT', most)
    local times, passed, n = page[2], {}, 0
    for i = 1, #times, 2 do
        if tonumber(times[i + 1]) <= NOW then
            n = n + 1
            passed[n] = times[i]
        end
    end
    for i = 1, n, FIELDS_READ do redis.call('HDEL', RATES, unpack(passed, i, math.min(i + FIELDS_READ - 1, n))) end
    redis.call('HSET', CHECKED, 'rates', page[1])
end

-- So many starts have moved rates: of very many rates forget those at rest faster than they become more.
local function moved_rates(count)
    if redis.call('HLEN', RATES) > RATES_KEPT then forget_rates(2 * count) end
end

-- Where the ids of the jobs that hold a gate end in its field: before two line breaks.
local function holders_end(text)
    return byte(text) == ZERO and 2 or find(text, '\n\n', 2, true)
end

-- A gate has room for the lane that alone waits there, which its field says: what that says when the lane is in the ring.
-- It keeps no room for it: while no job takes limits, nobody could use that but lanes that were in the ring before.
-- `stop`: where the holders end.
local function called_text(text, stop)
    -- A turn has 15 digits.
    local space = byte(text, stop + 19) == 32 and stop + 19 or find(text, ' ', stop + 3, true)
    return (stop == 2 and '0\n\n' or sub(text, 1, stop + 1)) .. 'c' .. sub(text, stop + 3), sub(text, space + 1)
end
