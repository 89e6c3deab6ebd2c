-- Comes before the scripts that declare schedules and look at them. A declaration is what one version of the code says of
-- a queue's schedules, by its fingerprint; kept of each is when it was declared first, and when one of its workers looked
-- last. The newest holds while any of its workers lives, also when one of an older version starts again.

-- Seconds after which a declaration that no worker has looked with counts as gone: three looks of a worker.
local GONE = 30

-- Seconds for which a look is not noted anew.
local FRESH = 5

-- Seconds for which a declaration is remembered that no worker has: an older deploy.
local REMEMBERED = 2592000

local function seen(fingerprint)
    local first, last = string.match(redis.call('HGET', DECLARATIONS, fingerprint) or '', '^(%S+) (%S+)$')
    return tonumber(first), tonumber(last)
end

local function note_look(fingerprint)
    local first, last = seen(fingerprint)
    if last and NOW >= last and NOW - last < FRESH then return end
    redis.call('HSET', DECLARATIONS, fingerprint, string.format('%.6f %.6f', first or NOW, NOW))
end

-- True when another declaration is to stay in place of one's own: it is newer, and lives.
local function stays(other, own)
    local first, last = seen(other)
    return first and NOW - last < GONE and first >= (seen(own) or 0)
end
