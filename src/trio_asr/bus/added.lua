-- How many entries were ever added to a stream, and how many of those there lie after a position, as of one
-- moment; nothing where the server does not count them (before Redis 7), where there are too many to look at, or
-- where no id can follow the position. KEYS: the stream. ARGV: the position, the most to look at.
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if info.err then return {} end
local after = redis.pcall('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
if after.err or #after >= tonumber(ARGV[2]) then return {} end
for j = 1, #info - 1, 2 do
  if info[j] == 'entries-added' then return {info[j + 1], #after} end
end
return {}
