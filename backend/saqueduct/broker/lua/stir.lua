-- Look again at the gates of some limits, whose rules have changed, at which lanes wait. ARGV: 4 cursor of HSCAN, 5 about
-- how many lanes, from 6 on the names of the limits. Returns the next cursor.
if not limits() then return '0' end
local changed = {}
for i = 6, #ARGV do changed[ARGV[i]] = true end
return loaded.stir_waiting(ARGV[4], ARGV[5], changed)
