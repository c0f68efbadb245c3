-- tidewire tail 1
-- Finds where the newest messages over all of some channels begin (`?tail=`).
--
-- KEYS  1 fence, then the stream of every channel
-- ARGV  1 generation  2 replication id  3 how many messages
-- Gives {'FENCED'} or {'AT', seq, the seq before the oldest of them}.

local fence = redis.call('HMGET', KEYS[1], 'open', 'seq')
local info = redis.call('INFO', 'replication')
if fence[1] ~= ARGV[1] or not fence[2] or not string.find(info, 'role:master', 1, true)
  or string.match(info, 'master_replid:(%x+)') ~= ARGV[2] then
  return { 'FENCED' }
end

-- Newest first, a few entries of each stream at a time, so that no more is fetched than is looked at.
local streams = {}
local function next_of(stream)
  stream.at = stream.at + 1
  if stream.at > #stream.chunk and stream.more then
    stream.chunk = redis.call('XREVRANGE', stream.name, stream.from, '-', 'COUNT', 16)
    stream.at, stream.more = 1, #stream.chunk == 16
    if #stream.chunk > 0 then
      stream.from = '(' .. stream.chunk[#stream.chunk][1]
    end
  end
  local entry = stream.chunk[stream.at]
  stream.seq = entry and tonumber(string.match(entry[1], '^(%d+)'))
end
for at = 2, #KEYS do
  local stream = { name = KEYS[at], from = '+', chunk = {}, at = 0, more = true }
  next_of(stream)
  table.insert(streams, stream)
end

local before = tonumber(fence[2])
for _ = 1, tonumber(ARGV[3]) do
  local newest = nil
  for _, stream in ipairs(streams) do
    if stream.seq and (not newest or stream.seq > newest.seq) then
      newest = stream
    end
  end
  if not newest then
    break
  end
  before = newest.seq - 1
  next_of(newest)
end
return { 'AT', fence[2], string.format('%.0f', before) }
