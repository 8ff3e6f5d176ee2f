-- What is stored of some owners, as of one moment. KEYS: their state hashes. Each answer names its key and is
-- followed by rev and state, or by the one word why there are none; one that is broken hides no other.
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' or kind == 'none' then
    local pair = redis.call('HMGET', key, 'rev', 'state')
    found[i] = {key, pair[1], pair[2]}
  else
    found[i] = {key, kind}
  end
end
return found
