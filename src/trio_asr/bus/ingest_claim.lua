-- A socket takes a call of its own tenant. KEYS: the call's state.
-- ARGV: owner, tenant, legs, ms for which another socket counts as alive, ttl in ms.
--
-- Whoever takes it last has it: the owner's token is what `ingest_add.lua` checks. The answer is what the call's next
-- audio goes on from, and the server's time, since several gateways share no other clock. To ask again after a lost
-- answer is harmless. A socket with other legs of a call that is alive would need to share it, which is not possible.
local found = redis.pcall('HMGET', KEYS[1], 'tenant', 'legs', 'at', 'pos', 'about', 'ended', 'owner')
if found.err then return string.find(found.err, 'WRONGTYPE', 1, true) and {KEYS[1], 'misused'} or found end
local tenant, legs, at = found[1], found[2], found[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tenant and tenant ~= ARGV[2] then return {KEYS[1], 'tenant'} end
if legs and legs ~= ARGV[3] and not found[6] and found[7] ~= ARGV[1] and now - (tonumber(at) or 0) < tonumber(ARGV[4]) then
  return {KEYS[1], 'legs'}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'tenant', ARGV[2], 'legs', ARGV[3], 'at', now)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {KEYS[1], 'taken', now, found[4] or '', found[5] or ''}
