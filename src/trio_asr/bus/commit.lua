-- The only writer. KEYS: fence, state hash, live set, then one stream per write.
-- ARGV: token, rev, state, owner, ttl in ms (0: the call is live), then maxlen and data per write.
--
-- Compare-and-set: the stored revision must be rev - 1. If it is rev, with this very state, the commit was
-- applied before and its answer lost. No stored revision at all means that Redis lost its data; the fence says
-- that it is ours to restore.
--
-- An answer names the commit that it is for, so that no other is taken for it; a reason follows on a line of its
-- own. 'refused' is for this call's own stream, 'blocked' for a key that all calls need. Any other trouble is an
-- error of the server's, and passed on as it is. Whichever it is, nothing was written.
local function answer(outcome, reason)
  return outcome .. ' ' .. ARGV[2] .. ' ' .. ARGV[4] .. (reason and '\n' .. reason or '')
end
local function failed(reply) return type(reply) == 'table' and reply.err end
local function misused(reply) return string.find(reply.err, 'WRONGTYPE', 1, true) end

local fence = redis.pcall('GET', KEYS[1])
if failed(fence) then return misused(fence) and answer('blocked', KEYS[1]) or fence end
if not fence then return answer('unfenced') end
if fence ~= ARGV[1] then return answer('fenced') end
local rev, stored = tonumber(ARGV[2]), redis.pcall('HMGET', KEYS[2], 'rev', 'state')
if failed(stored) then return misused(stored) and answer('stale') or stored end
if stored[1] then
  local at = tonumber(stored[1])
  if at == rev and stored[2] == ARGV[3] then return answer('done') end
  if at ~= rev - 1 then return answer('stale') end
end
local live = redis.call('TYPE', KEYS[3]).ok
if live ~= 'none' and live ~= 'set' then return answer('blocked', KEYS[3]) end

-- Lua does not roll back: messages would be written again with the next attempt, and a stored state without
-- what belongs to it would never be completed. So each write notes how to take it back, and none is by `call`.
local undo = {}
local function taken_back(reply)
  for i = #undo, 1, -1 do redis.pcall(unpack(undo[i])) end
  return reply
end
for i = 4, #KEYS do
  local maxlen, data = ARGV[2 * i - 2], ARGV[2 * i - 1]
  local id
  if maxlen == '0' then
    id = redis.pcall('XADD', KEYS[i], '*', 'data', data)
  else
    id = redis.pcall('XADD', KEYS[i], 'MAXLEN', '~', maxlen, '*', 'data', data)
  end
  if failed(id) then
    taken_back()
    local used_up = string.find(id.err, 'exhausted', 1, true) -- somebody has used its last id
    if maxlen == '0' and (misused(id) or used_up) then return answer('refused', KEYS[i] .. ': ' .. id.err) end
    if misused(id) then return answer('blocked', KEYS[i]) end
    return used_up and {err = 'ERR ' .. KEYS[i] .. ': ' .. id.err} or id
  end
  undo[#undo + 1] = {'XDEL', KEYS[i], id}
end
local set = redis.pcall('HSET', KEYS[2], 'rev', ARGV[2], 'state', ARGV[3])
if failed(set) then return taken_back(set) end
undo[#undo + 1] = stored[1] and {'HSET', KEYS[2], 'rev', stored[1], 'state', stored[2] or ''} or {'DEL', KEYS[2]}
if ARGV[4] ~= '' then
  local is_live = ARGV[5] == '0'
  local moved = redis.pcall(is_live and 'SADD' or 'SREM', KEYS[3], ARGV[4])
  if failed(moved) then return taken_back(moved) end
  if moved == 1 then undo[#undo + 1] = {is_live and 'SREM' or 'SADD', KEYS[3], ARGV[4]} end
  local kept = is_live and redis.pcall('PERSIST', KEYS[2]) or redis.pcall('PEXPIRE', KEYS[2], ARGV[5])
  if failed(kept) then return taken_back(kept) end
end
return answer('applied')
