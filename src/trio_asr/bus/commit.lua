-- The only writer. KEYS: fence, state hash, live set, then one stream per write.
-- ARGV: token, rev, state, owner, ttl in ms (0: the call is live), then maxlen and data per write.
--
-- Compare-and-set: the stored revision must be rev - 1. If it is rev, with this very state, the commit was
-- applied before and its answer lost. No stored revision at all means that Redis lost its data; the fence says
-- that it is ours to restore.
local fence = redis.call('GET', KEYS[1])
if not fence then return 'unfenced' end
if fence ~= ARGV[1] then return 'fenced' end
local rev, stored = tonumber(ARGV[2]), redis.call('HGET', KEYS[2], 'rev')
if stored then
  stored = tonumber(stored)
  if stored == rev and redis.call('HGET', KEYS[2], 'state') == ARGV[3] then return 'done' end
  if stored ~= rev - 1 then return 'stale' end
end
-- Lua does not roll back, so what could refuse a write is asked before the first one.
for i = 4, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'stream' then return 'refused ' .. KEYS[i] .. ' is a ' .. kind end
end
for i = 4, #KEYS do
  local maxlen, data = ARGV[2 * i - 2], ARGV[2 * i - 1]
  if maxlen == '0' then
    redis.call('XADD', KEYS[i], '*', 'data', data)
  else
    redis.call('XADD', KEYS[i], 'MAXLEN', '~', maxlen, '*', 'data', data)
  end
end
redis.call('HSET', KEYS[2], 'rev', ARGV[2], 'state', ARGV[3])
if ARGV[4] ~= '' then
  if ARGV[5] == '0' then
    redis.call('SADD', KEYS[3], ARGV[4])
    redis.call('PERSIST', KEYS[2])
  else
    redis.call('SREM', KEYS[3], ARGV[4])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
end
return 'applied'
