-- Take, renew or release ownership. KEYS: lease, fence. ARGV: verb, token, ttl in ms, and for 'acquire' whether
-- somebody was seen to own the calls: then a missing fence is theirs to set again first.
for i = 1, 2 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'string' then return 'blocked ' .. KEYS[i] end
end
local holder, fence = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if ARGV[1] == 'acquire' then
  if holder and holder ~= ARGV[2] then return 'lost' end
  if not fence and ARGV[4] == '1' then return 'missing' end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('SET', KEYS[2], ARGV[2])
  return 'held'
end
if not fence then return 'missing' end
if fence ~= ARGV[2] then return 'lost' end
if ARGV[1] == 'renew' then
  if holder == ARGV[2] then
    redis.call('PEXPIRE', KEYS[1], ARGV[3]) -- unlike SET it is allowed when there is no memory left
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
elseif holder == ARGV[2] then
  redis.call('DEL', KEYS[1])
end
return 'held'
