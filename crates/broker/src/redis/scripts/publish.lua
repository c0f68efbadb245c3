-- tidewire publish 1
-- Places one message: fence, idempotency, place, keep, remember, tell (delivery rules R15, R16, R20 to R22).
--
-- KEYS  1 fence  2 stream  3 record  [4 idempotency key]
-- ARGV  1 generation  2 replication id, or '' where an earlier call of this flush has compared it  3 node field
--       4 Pub/Sub name  5 body  6 messages kept  7 history's ms  8 record's ms  [9 fingerprint  10 key's ms]
-- Gives the seq, {'FENCED'}, {'SAME', generation, seq} or {'REUSED'}.

local fence = redis.call('HMGET', KEYS[1], 'open', 'seq', 'floor', ARGV[3])
if fence[1] ~= ARGV[1] or not fence[2] or not fence[4] then
  return { 'FENCED' }
end
if ARGV[2] ~= '' and string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') ~= ARGV[2] then
  -- The rest of the flush does not compare again, so the fence is shut for it, until a handshake opens it.
  redis.call('HDEL', KEYS[1], 'open')
  return { 'FENCED' }
end

if KEYS[4] then
  local known = redis.call('GET', KEYS[4])
  if known then
    local generation, seq, fingerprint = string.match(known, '^(%w+) (%d+) (%x+)$')
    if fingerprint ~= ARGV[9] then
      return { 'REUSED' }
    end
    -- A WAIT behind a repetition must cover the first write, so this writes (R21), and memory being full is no reason
    -- to refuse what is stored already.
    redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), 1))
    return { 'SAME', generation, seq }
  end
end

local last = redis.call('GET', KEYS[3])
local chained = '+'
if not last then
  -- Without a record nothing is known below the floor, but what the stream still holds is (R20).
  chained = '-'
  last = fence[3] or fence[2]
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  local at = newest and string.match(newest[1], '^(%d+)')
  if at and tonumber(at) > tonumber(last) then
    last = at
  end
end

-- The first write: where memory is full, Redis refuses it and with it the whole script (R15).
local seq = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'seq', 1))

if ARGV[6] == '0' then
  redis.call('DEL', KEYS[2])
else
  local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '=', ARGV[6], seq .. '-0', 'p', last, 'm', ARGV[5])
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'smaller', 1, true) or string.find(added.err, 'WRONGTYPE', 1, true) then
      -- Somebody set the counter back, or wrote over the stream. There is no way on in this log: the next handshake
      -- begins another one, under other keys (fault F14).
      redis.call('DEL', KEYS[1])
      return { 'FENCED' }
    end
    return added
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
redis.call('SET', KEYS[3], seq, 'PX', ARGV[8])
if KEYS[4] then
  redis.call('SET', KEYS[4], ARGV[1] .. ' ' .. seq .. ' ' .. ARGV[9], 'PX', ARGV[10])
end
redis.call('PUBLISH', ARGV[4], '1 ' .. ARGV[1] .. ' ' .. seq .. ' ' .. last .. ' ' .. chained .. '\n' .. ARGV[5])
return tonumber(seq)
