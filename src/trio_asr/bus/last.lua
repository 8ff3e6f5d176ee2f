-- Of each stream the last id that it gave out, also to entries that are gone, how many entries were ever added
-- (Redis 7), how many there are, and the first of them; '' for what is not known. To a stream that is not there none
-- were added. KEYS: streams.
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = {'', '', '', ''}
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    if string.find(info.err, 'no such key', 1, true) then found[i][2] = '0' end
  else
    for j = 1, #info - 1, 2 do
      if info[j] == 'last-generated-id' then found[i][1] = info[j + 1] end
      if info[j] == 'entries-added' then found[i][2] = tostring(info[j + 1]) end
      if info[j] == 'length' then found[i][3] = tostring(info[j + 1]) end
      if info[j] == 'first-entry' and info[j + 1] then found[i][4] = info[j + 1][1] end
    end
  end
end
return found
