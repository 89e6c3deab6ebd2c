-- Create the jobs of due ticks, each once. ARGV: 4 fingerprint of the caller's declaration; 5 in MessagePack
-- a row for each: schedule, its tick from `due.lua`, the latest tick that is due, the tick after, '1' if its jobs
-- may overlap, key under which a stock worker would have the tick ('' none), row of the job (empty: the tick is skipped).
-- Returns for each: 'made'; 'known': another worker was first; 'skipped'; 'paused'; 'overlaps': an earlier job exists,
-- or one that claims the same; 'stock': stock workers have the schedule.
local answers = {}
local holds = redis.call('GET', DECLARED) == ARGV[4]

-- A tick that became due during a pause creates no job, even if no worker checked before the schedule was resumed.
local function paused(schedule, tick)
    local note = redis.call('HGET', SCHEDULES_PAUSED, schedule)
    local ended = note and string.match(note, '^until (.*)')
    if ended then redis.call('HDEL', SCHEDULES_PAUSED, schedule) end
    return note and (not ended or tonumber(tick) <= tonumber(ended))
end

local function overlaps(schedule)
    local last = redis.call('HGET', TICKED, schedule)
    return last and redis.call('ZSCORE', INCOMPLETE, PREFIX .. last)
end

-- True if the job under the key of stock workers was scheduled for this tick and has ended.
local function stock_had(key, tick)
    local stored = redis.call('GET', PREFIX .. key)
    local readable, job = pcall(cjson.decode, stored or '')
    return readable and type(job) == 'table' and job.scheduled == tonumber(tick)
end

-- Stock workers enqueue the next tick ahead, under one key: that job is for this tick if it is due or runs, and for
-- the next one if the job of this tick has already ended. Between its end and the next job there is its outcome.
local function stock_has(key, tick, following)
    if key == '' then return false end
    local score = tonumber(redis.call('ZSCORE', INCOMPLETE, PREFIX .. key) or nil)
    if score then return score <= NOW or score == tonumber(following) end
    return stock_had(key, tick)
end

for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do
    local schedule, tick, latest, following, overlap, stock, job = unpack(row)
    if not holds or redis.call('ZSCORE', TICKS, schedule) ~= tick then
        answers[i] = 'known'
    else
        redis.call('ZADD', TICKS, following, schedule)
        if paused(schedule, latest) then
            answers[i] = 'paused'
        elseif #job == 0 then
            answers[i] = 'skipped'
        elseif stock_has(stock, latest, following) then
            answers[i] = 'stock'
        elseif overlap == '0' and overlaps(schedule) then
            answers[i] = 'overlaps'
        elseif admit(job) == 1 then
            redis.call('HSET', TICKED, schedule, job[1])
            answers[i] = 'made'
        else
            answers[i] = 'overlaps'
        end
    end
end
return answers
