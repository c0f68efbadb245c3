-- tidewire presence-list 1
-- The members of a channel, those with most sessions first.
--
-- KEYS  1 channel
-- ARGV  1 members at most
-- Gives {count, subject, score, …}; see presence_write for what a score is.

local answer = redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
table.insert(answer, 1, tostring(redis.call('ZCARD', KEYS[1])))
return answer
