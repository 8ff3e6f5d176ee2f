-- The only writer. KEYS: fence, state hash, live set, then one stream per write.
-- ARGV: token, rev, state, owner, ttl in ms (0: the call is live), then maxlen and data per write.
--
-- Compare-and-set: the stored revision must be rev - 1. If it is rev, with this very state, the commit was
-- applied before and its answer lost. No stored revision at all means that Redis lost its data; the fence says
-- that it is ours to restore.
--
-- An answer names the commit that it is for, so that no other is taken for it; a reason follows on a line of its
-- own. 'refused' is for this call's own stream, 'blocked' for a key that all calls need.
local function answer(outcome, reason)
  return outcome .. ' ' .. ARGV[2] .. ' ' .. ARGV[4] .. (reason and '\n' .. reason or '')
end
local function failed(reply) return type(reply) == 'table' and reply.err end
local function misused(reply) return string.find(reply.err, 'WRONGTYPE', 1, true) end

local fence = redis.pcall('GET', KEYS[1])
if failed(fence) then return misused(fence) and answer('blocked', KEYS[1]) or fence end
if not fence then return answer('unfenced') end
if fence ~= ARGV[1] then return answer('fenced') end
local rev, stored = tonumber(ARGV[2]), redis.pcall('HGET', KEYS[2], 'rev')
if failed(stored) then return misused(stored) and answer('stale') or stored end
if stored then
  stored = tonumber(stored)
  if stored == rev and redis.call('HGET', KEYS[2], 'state') == ARGV[3] then return answer('done') end
  if stored ~= rev - 1 then return answer('stale') end
end
local live = redis.call('TYPE', KEYS[3]).ok
if live ~= 'none' and live ~= 'set' then return answer('blocked', KEYS[3]) end

local ids = {}
-- Lua does not roll back, and what is written now would be written again with the next attempt.
local function take_back() for i, id in pairs(ids) do redis.pcall('XDEL', KEYS[i], id) end end
for i = 4, #KEYS do
  local maxlen, data = ARGV[2 * i - 2], ARGV[2 * i - 1]
  local id
  if maxlen == '0' then
    id = redis.pcall('XADD', KEYS[i], '*', 'data', data)
  else
    id = redis.pcall('XADD', KEYS[i], 'MAXLEN', '~', maxlen, '*', 'data', data)
  end
  if failed(id) then
    take_back()
    if not misused(id) and not string.find(id.err, 'exhausted', 1, true) then return id end
    if maxlen == '0' then return answer('refused', KEYS[i] .. ': ' .. id.err) end
    return answer('blocked', KEYS[i])
  end
  ids[i] = id
end
local set = redis.pcall('HSET', KEYS[2], 'rev', ARGV[2], 'state', ARGV[3])
if failed(set) then
  take_back()
  return set
end
if ARGV[4] ~= '' then
  if ARGV[5] == '0' then
    redis.call('SADD', KEYS[3], ARGV[4])
    redis.call('PERSIST', KEYS[2])
  else
    redis.call('SREM', KEYS[3], ARGV[4])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
end
return answer('applied')
