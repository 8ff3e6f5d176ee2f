-- Take, renew, release or pass ownership. KEYS: lease, fence. ARGV: verb, token, ttl in ms, the lease's value for an
-- heir ('acquire': for us; 'pass': for the next owner), and for 'acquire' whether somebody was seen to own the calls:
-- then a missing fence is theirs to set again first.
--
-- Who gives the calls up leaves a fence that is nobody's: no renewal and no commit of theirs that is still on its way
-- takes effect, whatever becomes of the lease. An answer names the lease, so that no other is taken for it.
local function answer(word) return word .. ' ' .. KEYS[1] end
for i = 1, 2 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'string' then return 'blocked ' .. KEYS[i] end
end
local verb, token, ttl, heir = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holder, fence = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if verb == 'acquire' then
  if holder and holder ~= token and (heir == '' or holder ~= heir) then return answer('lost') end
  if not fence and ARGV[5] == '1' then return answer('missing') end
  redis.call('SET', KEYS[1], token, 'PX', ttl)
  redis.call('SET', KEYS[2], token)
  return answer('held')
end
if not fence then return answer('missing') end
if fence ~= token then return answer('lost') end
if verb == 'renew' then
  if holder == token then
    redis.call('PEXPIRE', KEYS[1], ttl) -- unlike SET it is allowed when there is no memory left
  else
    redis.call('SET', KEYS[1], token, 'PX', ttl)
  end
  return answer('held')
end
if holder == token then redis.call('DEL', KEYS[1]) end -- first: after it all is allowed, as above
if verb == 'pass' then redis.call('SET', KEYS[1], heir, 'PX', ttl) end
redis.call('SET', KEYS[2], 'given up by ' .. token)
return answer('held')
