-- tidewire presence-write 1
-- Writes how many sessions subjects have on one node, and tells of those who are the first or the last of all nodes. What
-- is written is absolute, so that a repetition changes nothing.
--
-- A channel's score for a subject is 2^32 for every node that has it, and 1 for every session.
--
-- KEYS  1 nodes  2 the node's members  3… channels
-- ARGV  1 node  2 version of its members  3 where it is told  4 'quiet' or ''  5… channel's key, channel, subject,
--       sessions or '-'
-- Gives {'LOST'} or {'IN'}. Quiet, whoever is new is told of as missed.

local NODE = 4294967296
local time = redis.call('TIME')
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= time[1] * 1000 + math.floor(time[2] / 1000) then
  return { 'LOST' }
end
redis.call('HSET', KEYS[2], '', ARGV[2])

local missed = {}
for at = 5, #ARGV, 4 do
  local key, channel, subject, sessions = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local member = channel .. ' ' .. subject
  local old = redis.call('HGET', KEYS[2], member)
  if sessions == '-' then
    if old then
      redis.call('HDEL', KEYS[2], member)
      local change = string.format('%.0f', -NODE - old)
      if tonumber(redis.call('ZINCRBY', key, change, subject)) < NODE then
        redis.call('ZREM', key, subject)
        redis.call('PUBLISH', ARGV[3], '-' .. member)
      end
    end
  else
    redis.call('HSET', KEYS[2], member, sessions)
    local change = string.format('%.0f', old and sessions - old or NODE + sessions)
    local score = tonumber(redis.call('ZINCRBY', key, change, subject))
    if not old and score < 2 * NODE then
      if ARGV[4] == 'quiet' then
        missed[channel] = true
      else
        redis.call('PUBLISH', ARGV[3], '+' .. member)
      end
    end
  end
end
for channel in pairs(missed) do
  redis.call('PUBLISH', ARGV[3], '?' .. channel)
end
return { 'IN' }
