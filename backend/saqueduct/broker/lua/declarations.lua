-- Inserted before the scripts that declare and read schedules. A declaration is what one version of the code says about
-- a queue's schedules, by its fingerprint; stored for each are when it was first declared, and when its workers checked
-- last. The newest is valid while any of its workers lives, even if a worker of an older version starts again.

-- Seconds without a check by a worker after which a declaration counts as gone: three checks of a worker.
local GONE = 30

-- Seconds during which another check is not stored again.
local FRESH = 5

-- Seconds to keep a declaration that no worker has: an older deploy.
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

-- True if another declaration must stay instead of the caller's: it is newer, and its workers live.
local function stays(other, own)
    local first, last = seen(other)
    return first and NOW - last < GONE and first >= (seen(own) or 0)
end
