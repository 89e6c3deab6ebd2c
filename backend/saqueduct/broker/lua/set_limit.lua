-- Change a limit while workers run, or end such a change. ARGV: 4 its name, 5 its rule ('' as it is declared), 6 who and why
-- (JSON), 7 the rule in the caller's code, which counts until workers have declared it.
-- Returns whether the rule is another one now, and the note about the change or ''.
return limits(true).change(ARGV[4], ARGV[5], ARGV[6], ARGV[7])
