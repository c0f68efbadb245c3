-- tidewire presence-renew 1
-- Takes or renews a node's lease, and names nodes whose lease has run out. A node whose lease has run out does not get
-- it back, since others may have begun to take out its members: it comes in anew, under another name.
--
-- KEYS  1 nodes  2 store  3 the node's members
-- ARGV  1 node  2 version of its members  3 a lease's ms  4 a name for an empty store  5 'enter' or ''
-- Gives {'LOST', store} or {'IN', store, dead node, …}.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local store = redis.call('GET', KEYS[2])
if not store then
  store = ARGV[4]
  redis.call('SET', KEYS[2], store)
end
if ARGV[5] ~= 'enter' then
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
  -- Another version is that of a server which has not all that this node wrote: a replica that was promoted.
  if not ends or tonumber(ends) <= now or (redis.call('HGET', KEYS[3], '') or '0') ~= ARGV[2] then
    return { 'LOST', store }
  end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
local answer = { 'IN', store }
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 8)) do
  table.insert(answer, dead)
end
return answer
