-- Enqueue many jobs. ARGV: 5 in MessagePack a row for each, see `admit.lua`. Answers for each what `admit` does.
local answers = {}
for i, row in ipairs(cmsgpack.unpack(ARGV[5])) do answers[i] = admit(row) end
return answers
