-- Some ends that PostgreSQL does not know yet. ARGV: 4 cursor of HSCAN, 5 seconds since when they are there at least,
-- 6 about how many. Returns {next cursor, how many are younger, mark, seconds, JSON, mark, seconds, JSON, ...}.
local page = redis.call('HSCAN', UNRECORDED, ARGV[4], 'COUNT', ARGV[6])
local answer, young = {page[1], 0}, 0
for i = 1, #page[2], 2 do
    local ended, job = string.match(page[2][i + 1], '^(%d+) (.*)$')
    local age = ended and SERVER - tonumber(ended) or 0
    if age < tonumber(ARGV[5]) then
        young = young + 1
    else
        local n = #answer
        answer[n + 1], answer[n + 2], answer[n + 3] = page[2][i], string.format('%.0f', age), job
    end
end
answer[2] = young
return answer
