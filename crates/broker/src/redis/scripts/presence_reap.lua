-- tidewire presence-reap 1
-- Takes out some members of a node that is gone, and tells of those who are nowhere else. Each of them is taken out once,
-- whoever calls, and so told once.
--
-- KEYS  1 nodes  2 the node's members
-- ARGV  1 node  2 where it is told  3 what a channel's key begins with  4 members at most  5 'own' or ''
-- Gives {'ALIVE'}, {'MORE'} or {'GONE'}. 'own' is a name that the caller itself has given up.

local NODE = 4294967296
if ARGV[5] ~= 'own' then
  local time = redis.call('TIME')
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if ends and tonumber(ends) > time[1] * 1000 + math.floor(time[2] / 1000) then
    return { 'ALIVE' }
  end
end
local fields = redis.call('HRANDFIELD', KEYS[2], ARGV[4], 'WITHVALUES')
for at = 1, #fields, 2 do
  local member, sessions = fields[at], fields[at + 1]
  redis.call('HDEL', KEYS[2], member)
  local channel, subject = string.match(member, '^([^ ]+) (.*)$')
  if channel then
    -- The channels of a node are known to its members alone, so these keys are not among KEYS; they have its hash tag.
    local key = ARGV[3] .. channel
    local change = string.format('%.0f', -NODE - sessions)
    if tonumber(redis.call('ZINCRBY', key, change, subject)) < NODE then
      redis.call('ZREM', key, subject)
      redis.call('PUBLISH', ARGV[2], '-' .. member)
    end
  end
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'MORE' }
end
redis.call('ZREM', KEYS[1], ARGV[1])
return { 'GONE' }
