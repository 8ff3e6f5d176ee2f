-- The beats of a fleet's members, as far as they may be looked at: others can write there as well. KEYS: the set of the
-- members' names. ARGV: what the key of a beat begins with (all lie in one slot), the most bytes of a beat, the most
-- beats, and the most bytes of all. A beat that is too large is empty. A name without a beat is removed. The answer
-- names the set.
local function answer(word) return {word .. ' ' .. KEYS[1]} end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'set' then return answer('blocked') end
local most, left, bytes_left = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, names = answer('found'), redis.call('SMEMBERS', KEYS[1])
for first = 1, #names, 100 do -- a call for each would cost several times as much
  local keys, gone = {}, {}
  for i = first, math.min(first + 99, #names) do keys[#keys + 1] = ARGV[1] .. names[i] end
  for i, beat in ipairs(redis.call('MGET', unpack(keys))) do
    if beat then
      if #beat > most then beat = '' end
      left, bytes_left = left - 1, bytes_left - #beat
      if left < 0 or bytes_left < 0 then return answer('many') end
      found[#found + 1] = beat
    else
      gone[#gone + 1] = names[first + i - 1]
    end
  end
  if #gone > 0 then redis.call('SREM', KEYS[1], unpack(gone)) end
end
return found
