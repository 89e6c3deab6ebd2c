    -- Continues `limits_visits.lua`, and ends the function that `limits.lua` begins.
    -- Repair, changes by hand and declarations, and what people ask.
    local function load_checks()
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

        -- Forget lanes that a gate has called, if a fault has lost their notes: it would keep room for them for ever.
        local function check_called(gate)
            local called = BASE .. 'called:' .. gate
            local lanes_ = redis.call('ZRANGE', called, 0, LOOKED_AT - 1)
            if #lanes_ == 0 then return end
            for i, note in ipairs(redis.call('HMGET', CALLED, unpack(lanes_))) do
                if not note or string.match(note, '^%S+ (.*)$') ~= gate then redis.call('ZREM', called, lanes_[i]) end
            end
        end

        -- Repair some of what a fault may have left: entries of jobs that stock workers or an operator have removed, slots
        -- that no job holds, lanes without a place. `most`: about how many entries of each hash.
        function self.check(most)
            local from = redis.call('HMGET', CHECKED, 'lanes', 'places', 'takes', 'gates')
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
            -- A look at one costs less than at the others.
            forget_rates(10 * most)
            for _, key in ipairs(redis.call('SRANDMEMBER', LINED, LOOKED_AT)) do
                if byte(redis.call('HGET', FAIR, key) or '') ~= PLUS then redis.call('SREM', LINED, key) end
            end
            local fourth = redis.call('HSCAN', GATES, from[4] or '0', 'COUNT', most)
            for i = 1, #fourth[2], 2 do self.check_gate(fourth[2][i]) end
            redis.call('HSET', CHECKED, 'lanes', page[1], 'places', second[1], 'takes', third[1], 'gates', fourth[1])
        end

        -- Release the slots at a gate whose jobs neither run nor wait, and let others follow.
        function self.check_gate(gate)
            local text = packed_of(gate)
            if text and rule_of(gate).kind == 'o' then
                -- It may not have been ordered before: those that wait for another attempt have kept their slots since.
                look_up(gate)
                text = SPILLED
            end
            if text == SPILLED then
                check_called(gate)
                -- Those at which only lanes wait are looked at with their lanes.
                if redis.call('EXISTS', waiters_base .. gate) == 0 or redis.call('EXISTS', BASE .. 'takers:' .. gate) == 1 then
                    if rule_of(gate).kind ~= 'r' then check_held(gate) end
                    slow.stir(gate)
                end
            elseif text then
                for id in string.gmatch(sub(text, 2, lane_in(text)), '[^\n]+') do
                    if redis.call('HEXISTS', OWNERS, id) == 0 then leave_gate(gate, id) end
                end
                stir_one(gate)
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
            local page = redis.call('HSCAN', GATES, cursor, 'COUNT', most)
            for i = 1, #page[2], 2 do
                local gate = page[2][i]
                if changed[string.match(gate, '^[^\t]*')] then stir_one(gate) end
            end
            return page[1]
        end

        function self.check_lane(lane)
            -- Not as the scan found it: the check of another lane may have moved it since.
            local place = redis.call('HGET', PLACES, lane)
            if not place then return end
            if redis.call('EXISTS', read(lane).list) == 0 then return slow.drop(lane) end
            if place == '' then
                if not redis.call('ZSCORE', read(lane).ring, lane) and not self.waits_alone(lane) then to_ring(lane) end
                return
            end
            if is_fair(place) then
                local line, first = line_base .. read(lane).key, first_of(read(lane).key)
                if first and redis.call('ZSCORE', read(first).ring, first) then
                    if not redis.call('ZSCORE', line, lane) then redis.call('ZADD', line, next_turn(), lane) end
                    set_first(read(lane).key, '+' .. first)
                    redis.call('SADD', LINED, read(lane).key)
                else
                    set_first(read(lane).key, false)
                    redis.call('ZREM', line, lane)
                    to_ring(lane)
                    wake()
                end
                return
            end
            if not redis.call('ZSCORE', self.fill(place).waiters, lane) then park(lane, place) end
            if rule_of(place).kind ~= 'r' then check_held(place) end
            slow.stir(place)
        end
    end

    local loaders = {visit_batch = load_visits}
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
