-- The beats of a fleet's members, as far as they may be looked at: others can write there as well. KEYS: the set of the
-- members' names. ARGV: what the key of a beat begins with (all lie in one slot), the most bytes of a beat, the most
-- beats, and the most bytes of all. A beat that is too large is empty. A name without a beat is removed. The answer
-- names the set.
local function answer(word) return {word .. ' ' .. KEYS[1]} end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'set' then return answer('blocked') end
local most, left, bytes_left = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = answer('found')
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local beat = redis.pcall('GETRANGE', ARGV[1] .. name, 0, most)
  if type(beat) == 'table' then -- a refusal; a key of another type is no beat
    if not string.find(beat.err, 'WRONGTYPE', 1, true) then return beat end
    beat = ''
  end
  if beat == '' then
    redis.call('SREM', KEYS[1], name)
  else
    if #beat > most then beat = '' end
    left, bytes_left = left - 1, bytes_left - #beat
    if left < 0 or bytes_left < 0 then return answer('many') end
    found[#found + 1] = beat
  end
end
return found
