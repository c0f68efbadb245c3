-- tidewire lease 1
-- Renews a node's lease, gives up those whose lease has run out, and notes the seq of the hour (delivery rules R17, R20,
-- decision 13).
--
-- KEYS  1 fence  2 lineage  3 awaited  4 notes
-- ARGV  1 generation  2 replication id  3 node  4 a lease's ms  5 a generation for a loss
-- Gives {'FENCED'} or {'IN', seq, nodes, awaited}.

local fence = redis.call('HMGET', KEYS[1], 'open', 'seq', 'n:' .. ARGV[3])
local seq = fence[2]
if fence[1] ~= ARGV[1] or not seq or not fence[3]
  or string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') ~= ARGV[2] then
  return { 'FENCED' }
end
-- A first write that full memory does not refuse: a lease is no message.
redis.call('PERSIST', KEYS[1])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'n:' .. ARGV[3], stamp)

local lost, nodes = false, 0
local fields = redis.call('HGETALL', KEYS[1])
for at = 1, #fields, 2 do
  local node = string.match(fields[at], '^n:(.+)$')
  if node and now - (tonumber(fields[at + 1]) or 0) > tonumber(ARGV[4]) then
    -- Whoever is awaited may have had acknowledged what only another server has. Of anybody else, all that was ever
    -- acknowledged stands before this removal: a server that knows of the removal has all of it, and one that does not
    -- will await the node (decision 14).
    lost = redis.call('SREM', KEYS[3], node) == 1 or lost
    redis.call('HDEL', KEYS[1], fields[at])
  elseif node then
    nodes = nodes + 1
  end
end
if lost then
  redis.call('LPUSH', KEYS[2], ARGV[1] .. ' ' .. seq .. ' 1')
  redis.call('LTRIM', KEYS[2], 0, 127)
  redis.call('HSET', KEYS[1], 'generation', ARGV[5], 'open', ARGV[5])
  return { 'FENCED' }
end

-- Records live for longer than seven days and a day after the last message of their channel. The oldest note of the last
-- seven days is therefore above the last of every record that has expired.
local newest = redis.call('LINDEX', KEYS[4], -1)
local noted = newest and tonumber(string.match(newest, '^(%d+)'))
if not noted or now - noted >= 3600000 then
  redis.call('RPUSH', KEYS[4], stamp .. ' ' .. seq)
  redis.call('LTRIM', KEYS[4], -200, -1)
  local oldest = redis.call('LINDEX', KEYS[4], 0)
  while now - tonumber(string.match(oldest, '^(%d+)')) > 604800000 do
    redis.call('LPOP', KEYS[4])
    oldest = redis.call('LINDEX', KEYS[4], 0)
  end
  redis.call('HSET', KEYS[1], 'floor', string.match(oldest, ' (%d+)$'))
end
return { 'IN', seq, nodes, redis.call('SCARD', KEYS[3]) }
