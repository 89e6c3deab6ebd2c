-- Renew a worker's leases. ARGV: 4 seconds they last from now; from 5, three a job: key, lease, '' to renew or
-- the mark to release it with: '|late' and why, it blocks its worker and the attempt counts; '|unbegun', it has not begun
-- to run; '|stalled' or '|hung', it waits for a blocked event loop, and continues if no worker has taken it by then.
-- Returns for each 1, or 0 if the lease was lost.
even_when_full()
local deadline = deadline_in(ARGV[4])
local answers = {}
for i = 5, #ARGV, 3 do
    local id, lease = PREFIX .. ARGV[i], ARGV[i + 1]
    local owner = redis.call('HGET', OWNERS, id)
    if not is_held(owner, lease) then
        answers[#answers + 1] = 0
    else
        if ARGV[i + 2] == '' then
            if owner ~= lease then redis.call('HSET', OWNERS, id, lease) end
            redis.call('ZADD', LEASES, deadline, id)
        else
            redis.call('HSET', OWNERS, id, lease .. ARGV[i + 2])
            redis.call('ZADD', LEASES, 0, id)
        end
        answers[#answers + 1] = 1
    end
end
return answers
