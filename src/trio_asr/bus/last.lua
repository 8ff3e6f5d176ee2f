-- The last id that each stream gave out, also to entries that are gone; '' where it is not known. KEYS: streams.
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = ''
  local info = redis.pcall('XINFO', 'STREAM', key)
  if not info.err then
    for j = 1, #info - 1, 2 do
      if info[j] == 'last-generated-id' then found[i] = info[j + 1] end
    end
  end
end
return found
