-- Entries of a stream after a position, by size: how large they are shows only here before they are sent.
-- KEYS: the stream. ARGV: position, how many bytes and how many entries are enough, the most bytes of one entry.
-- One that is larger comes with the beginning of its envelope, one byte more than allowed.
local entries, size, after = {}, 0, ARGV[1]
local enough, count, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
while #entries < count and size < enough do
  local got = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 1)[1]
  if not got then return {entries, 0} end
  after = got[1]
  local fields, bytes = got[2], 0
  for i = 1, #fields do bytes = bytes + #fields[i] end
  if bytes > most then
    local values = {}
    for i = #fields - 1, 1, -2 do values[fields[i]] = fields[i + 1] end -- the first of a name counts
    local name = values.m and 'm' or 'data'
    fields = {name, string.sub(values[name] or '', 1, most + 1)}
    bytes = most
  end
  size = size + bytes
  entries[#entries + 1] = {after, fields}
end
return {entries, 1}
