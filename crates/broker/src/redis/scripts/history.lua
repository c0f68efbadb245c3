-- tidewire history 2
-- Reads what channels keep after a seq of each, up to one instant, whose seq it gives (delivery rules R18 to R20).
--
-- KEYS  1 fence, then stream and record of every channel
-- ARGV  1 generation  2 replication id  3 messages of a channel, at most  4 bytes of a channel, at most; one message is
--       read however large, then a seq for every channel
-- Gives {'FENCED'} or {'AT', seq, then {base, last, more, seq, prev, body, trace, seq, ...} for every channel}.
-- Whoever has seen less than base has lost something.

local fence = redis.call('HMGET', KEYS[1], 'open', 'seq', 'floor')
local info = redis.call('INFO', 'replication')
if fence[1] ~= ARGV[1] or not fence[2] or not string.find(info, 'role:master', 1, true)
  or string.match(info, 'master_replid:(%x+)') ~= ARGV[2] then
  return { 'FENCED' }
end
local messages_max, bytes_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local floor = fence[3] or fence[2]

-- The fields of an entry that we wrote; nothing where somebody else did.
local function read(entry)
  local seq, fields = string.match(entry[1], '^(%d+)%-0$'), entry[2]
  if seq and fields[1] == 'p' and fields[3] == 'm' then
    return seq, fields[2], fields[4], fields[5] == 't' and fields[6] or ''
  end
end

local answer = { 'AT', fence[2] }
for channel = 1, (#KEYS - 1) / 2 do
  local stream, last = KEYS[2 * channel], redis.call('GET', KEYS[2 * channel + 1])
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local _, base = nil, nil
  if first then
    _, base = read(first)
  end
  local found = { base or last or floor, last or '', 0 }
  local from, count, bytes, more = '(' .. ARGV[4 + channel] .. '-0', 0, 0, first ~= nil
  while more do
    -- A few at a time, so that large messages are not all fetched to be thrown away.
    local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', 16)
    for _, entry in ipairs(chunk) do
      local seq, prev, body, trace = read(entry)
      if seq then
        if count > 0 and (count >= messages_max or bytes + #body > bytes_max) then
          found[3] = 1
          break
        end
        count, bytes = count + 1, bytes + #body
        table.insert(found, seq)
        table.insert(found, prev)
        table.insert(found, body)
        table.insert(found, trace)
      end
      from = '(' .. entry[1]
    end
    more = #chunk == 16 and found[3] == 0
  end
  table.insert(answer, found)
end
return answer
