-- Inserted before `admit.lua`. Abort the running job that holds a claim, because a newer one takes its place, and let that
-- one wait for its end: the gate of the claim lets one job through at a time. `gate`: '' if the newer job has none.
local function cancel(holder, key, gate)
    local id = PREFIX .. holder
    -- The running job may have been enqueued before its task had this gate.
    if gate ~= '' and limits(true).hold(gate, id) then
        redis.call('HSET', LANES, id, (redis.call('HGET', LANES, id) or 'normal') .. '\n' .. gate)
    end
    redis.call('HSETNX', ABORTING, id, 'replaced by ' .. key)
    redis.call('PUBLISH', id, 'aborting')
end
