    -- Continues `limits.lua`.
    -- What happens at gates with several lanes or takers, and to jobs that do not simply start and end.
    local function load_slow()
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

        local function job_of(member)
            return is_taker(member) and sub(member, TOKEN + 2) or member
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
                local from = RANKS[level_of(last[1])] .. '000000000000000'
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
            local id, token = job_of(member), sub(member, 2, TOKEN + 1)
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
            redis.call('ZADD', self.fill(gate).waiters, turn, taker)
            redis.call('ZADD', takers_at(gate), turn, taker)
            -- Each asks again before that; what a fault leaves in it does not stay.
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

        -- Whether lanes or takers wait at a gate, or lanes in the ring that it has called.
        local function is_lined(gate)
            return redis.call('EXISTS', look_up(gate).waiters, called_by(gate)) > 0
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
            if first then redis.call('PUBLISH', BASE .. 'take:' .. sub(first, 2, TOKEN + 1), wait_of(gate, first)) end
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
            if byte(turn) == PLUS then return sub(turn, 2), gate, false end
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
            if waiting == 0 then return self.tidy(gate, 0) end
            local free, opens, kept, called, until_then = shared_room(gate)
            local moved, granted, late = 0, 0, {}
            while free > kept and waiting > 0 and moved < WOKEN do
                local first, turn = first_waiter(waiters)
                if first and called >= free and not is_taker(first) then first, turn = first_taker(gate) end
                if not first then break end
                waiting = waiting - 1
                if is_taker(first) then
                    -- One that no longer waits was left there by a fault.
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
            -- A start of a rate is held by nobody, and the lease of a taker may have run out.
            if granted > 0 and #late == 0 then self.tidy(gate, waiting) end
            if moved + granted > 0 then let_ask(gate) end
            if moved > 0 then wake_others() end
        end

        -- A lane has no more jobs.
        local function drop(lane)
            if not field(PLACES, lane) then return end
            gates_of(lane)
            self.flush()
            local place = redis.call('HGET', PLACES, lane)
            local _, gate, kept = end_call(lane, redis.call('HGET', CALLED, lane))
            if kept then return_seconds(gate, rule_of(gate).step) end
            forget_lane(lane)
            if place == '' then
                redis.call('ZREM', read(lane).ring, lane)
                end_turn(lane, read(lane).key)
            else
                redis.call('ZREM', is_fair(place) and line_base .. read(lane).key or look_up(place).waiters, lane)
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
            if place == '' and self.waits_alone(lane) then return end
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
                if rule_of(gate).kind ~= 'o' and leave_gate(gate, id) then stir_one(gate, true) end
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
            if state and release(gate, member) or returned then stir(gate) elseif state then self.tidy(gate) end
            if first or returned then let_ask(gate) end
        end

        -- The attempt of a job has ended, and with it its calls to take gates. Those that wait first: they get no place
        -- that the job gives back.
        function self.give_all(id)
            local calls, stirred, left = redis.call('HGETALL', calls_of(id)), {}, {}
            redis.call('DEL', calls_of(id))
            redis.call('SREM', TAKES, id)
            for i = 1, #calls, 2 do
                local member, gate = '\2' .. calls[i] .. id, sub(calls[i + 1], 2)
                if leave_line(gate, member) then left[gate] = true end
                if release(gate, member) then stirred[gate] = true end
            end
            for gate in pairs(stirred) do stir(gate) end
            for gate in pairs(left) do
                self.tidy(gate)
                let_ask(gate)
            end
        end

        -- Take a gate for a running job, or wait for it; see `take.lua`.
        function self.take(id, gate, name, rule, token)
            redis.call('HSETNX', RULES, name, rule)
            local lane = redis.call('HGET', LANES, id)
            if lane and rule_of(gate).kind ~= 'r' and find('\n' .. lane .. '\n', '\n' .. gate .. '\n', 1, true) then
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
        slow.is_lined = is_lined
        slow.job_of = job_of
        slow.let_ask = let_ask
        slow.note_visit = note_visit
        slow.reopen = reopen
        slow.return_seconds = return_seconds
        slow.stir = stir
    end

