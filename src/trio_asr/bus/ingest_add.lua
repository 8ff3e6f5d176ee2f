-- Entries of a call go on the stream, and maybe its end. KEYS: the call's state, audio stream, stream of ends.
-- ARGV: owner, position before, position after, about, tenant, legs, ttl in ms, end ('': none), then the entries.
--
-- Compare-and-set on owner and position: a batch that is asked for again, because its answer was lost, is found done.
-- No state at all means that Redis lost its data: it is restored. XADD comes first, since Lua does not roll back.
-- 'blocked' names a stream, which all calls need, and why it takes nothing.
local function answer(outcome, ...) return {KEYS[1], outcome, ...} end
local found = redis.pcall('HMGET', KEYS[1], 'owner', 'pos', 'ended')
if found.err then return string.find(found.err, 'WRONGTYPE', 1, true) and answer('misused') or found end
local owner, pos, ended = found[1], found[2] or '0', found[3]
if owner then
  if owner ~= ARGV[1] then return answer('lost') end
  if #ARGV > 8 and pos == ARGV[3] or #ARGV == 8 and ended then return answer('done') end
  if pos ~= ARGV[2] then return answer('stale') end
end

local time = redis.call('TIME')
local ids = {}
local function take_back() for _, added in ipairs(ids) do redis.pcall('XDEL', added[1], added[2]) end end
local function failed(stream, reply)
  take_back()
  return answer('blocked', stream, reply.err)
end
for i = 9, #ARGV do
  local id = redis.pcall('XADD', KEYS[2], '*', 'm', ARGV[i])
  if type(id) == 'table' then return failed(KEYS[2], id) end
  ids[#ids + 1] = {KEYS[2], id}
end
if ARGV[8] ~= '' then
  local id = redis.pcall('XADD', KEYS[3], '*', 'data', ARGV[8])
  if type(id) == 'table' then return failed(KEYS[3], id) end
  ids[#ids + 1] = {KEYS[3], id}
end
-- The state last, and all of it at once: with the new position it would be found done, whatever it lacks. A call
-- that went on while it counts as ended would never get its next end.
local set = {'HSET', KEYS[1], 'owner', ARGV[1], 'pos', ARGV[3], 'about', ARGV[4], 'tenant', ARGV[5],
  'legs', ARGV[6], 'at', time[1] * 1000 + math.floor(time[2] / 1000)}
local steps = {{'HDEL', KEYS[1], 'ended'}, set}
if ARGV[8] ~= '' then
  set[#set + 1], set[#set + 2] = 'ended', '1'
  steps = {set}
end
for _, step in ipairs(steps) do
  local done = redis.pcall(unpack(step))
  if type(done) == 'table' then
    take_back()
    return done
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return answer('added')
