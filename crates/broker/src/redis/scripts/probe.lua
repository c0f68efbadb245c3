-- tidewire probe 1
-- A look at the fence (delivery rule R18). On the Pub/Sub link, all up to its seq has arrived before its answer.
--
-- KEYS  1 fence
-- Gives {generation, seq, role, replication id}; generation and seq are empty where there is no fence.

local fence = redis.call('HMGET', KEYS[1], 'generation', 'seq')
local info = redis.call('INFO', 'replication')
return { fence[1] or '', fence[2] or '', string.match(info, 'role:(%w+)'), string.match(info, 'master_replid:(%x+)') }
