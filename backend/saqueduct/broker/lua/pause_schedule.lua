-- Pause a schedule, even if it has not been declared yet. ARGV: 4 schedule, 5 JSON of who and why. Returns the stored
-- note.
even_when_full()
local note = pause_note(redis.call('HGET', SCHEDULES_PAUSED, ARGV[4]), ARGV[5])
redis.call('HSET', SCHEDULES_PAUSED, ARGV[4], note)
return note
