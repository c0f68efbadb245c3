-- tidewire farewell 1
-- Takes a node that leaves in good order off the list, so that no promotion waits for it (decisions 13 and 14). It has told
-- what it saw before the last one, and whatever was acknowledged to it since stands in this log before its removal.
--
-- KEYS  1 fence
-- ARGV  1 generation  2 replication id  3 node
-- Gives {'FENCED'} or {'OUT'}.

local fence = redis.call('HMGET', KEYS[1], 'open', 'n:' .. ARGV[3])
if fence[1] ~= ARGV[1] or not fence[2]
  or string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') ~= ARGV[2] then
  return { 'FENCED' }
end
redis.call('HDEL', KEYS[1], 'n:' .. ARGV[3])
return { 'OUT' }
