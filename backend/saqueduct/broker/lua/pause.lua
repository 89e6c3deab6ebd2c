-- Pause the queue. ARGV: 4 JSON of who and why. Returns the stored note.
even_when_full()
local note = pause_note(redis.call('GET', PAUSED), ARGV[4])
redis.call('SET', PAUSED, note)
redis.call('DEL', RESUMED)
return note
