-- Pause a schedule, whether it has been declared yet or not. ARGV: 4 schedule, 5 JSON of who and why. Answers the note
-- that stands.
even_when_full()
local note = pause_note(redis.call('HGET', SCHEDULES_PAUSED, ARGV[4]), ARGV[5])
redis.call('HSET', SCHEDULES_PAUSED, ARGV[4], note)
return note
