-- tidewire handshake 2
-- Lets a node in: notices a promotion or an empty store, hears what the node saw, and registers it (delivery rules R15
-- to R17, decision 13). `tests/fence` is the model of this.
--
-- KEYS  1 fence  2 lineage  3 awaited  4 dead  5 notes
-- ARGV  1 node  2 a generation for a promotion or an empty store  3 a generation for a loss
--       4 how many replication ids the node has left, then those, then a generation, base and seq for every witness
-- Gives {'TOO OLD', version}, {'READONLY'}, {'LEFT'}, or {'IN', generation, seq, era, replication id, the id that it had
-- before it was promoted, evicts, lineage}.

if not redis.REDIS_VERSION_NUM or redis.REDIS_VERSION_NUM < 0x00070000 then
  return { 'TOO OLD', string.match(redis.call('INFO', 'server'), 'redis_version:(%S+)') or '' }
end
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master', 1, true) then
  return { 'READONLY' }
end
local replication = string.match(info, 'master_replid:(%x+)')
local witnesses = 5 + tonumber(ARGV[4])
for at = 5, witnesses - 1 do
  -- Whatever was promoted has a new id, so an id that was left never becomes right again.
  if ARGV[at] == replication then
    return { 'LEFT' }
  end
end

-- A first write that full memory does not refuse, so that nodes come in and read even then. The fence never expires.
redis.call('PERSIST', KEYS[1])

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local fence = redis.call('HMGET', KEYS[1], 'generation', 'seq', 'era', 'replication')
local generation, seq, era = fence[1], fence[2], fence[3]
local lineage = {}

-- Begins another generation. The lineage says, newest first, which came before, what survived of it, and whether more
-- than that may have been seen or acknowledged.
local function begin(next, lossy)
  local ancestor = generation .. ' ' .. seq .. ' ' .. lossy
  table.insert(lineage, 1, ancestor)
  redis.call('LPUSH', KEYS[2], ancestor)
  redis.call('LTRIM', KEYS[2], 0, 127)
  generation = next
end

local function each_witness(look)
  for at = witnesses, #ARGV - 2, 3 do
    look(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  end
end

-- Whether a cursor goes on in silence; nothing where its generation is not known.
local function passes(cursor_generation, cursor_seq)
  local base, silent = tonumber(seq), true
  if cursor_generation == generation then
    return cursor_seq <= base
  end
  for _, ancestor in ipairs(lineage) do
    local of, survived, lossy = string.match(ancestor, '^(%w+) (%d+) (%d)$')
    silent = silent and lossy == '0'
    if of == cursor_generation then
      return silent and cursor_seq <= tonumber(survived)
    end
  end
  return nil
end

local function remember_dead(of)
  redis.call('SADD', KEYS[4], of)
  if redis.call('SCARD', KEYS[4]) > 128 then
    redis.call('SPOP', KEYS[4])
  end
end

if not (generation and seq and era and fence[4]) then
  -- An empty store, or a damaged one (F14). Every cursor from before is of a generation that nobody knows and gets its
  -- gap, so nothing that was seen there needs to be announced again.
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  generation, seq, era = ARGV[2], '0', ARGV[2]
  each_witness(remember_dead)
  redis.call('RPUSH', KEYS[5], now .. ' 0')
  redis.call('HSET', KEYS[1], 'floor', '0')
else
  lineage = redis.call('LRANGE', KEYS[2], 0, -1)
  if fence[4] ~= replication then
    -- A promotion or a restart: everybody who had a part in the log is asked what it saw, and has a whole lease for it,
    -- by the clock of this server.
    begin(ARGV[2], '0')
    redis.call('DEL', KEYS[3])
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      local node = string.match(field, '^n:(.+)$')
      if node then
        redis.call('SADD', KEYS[3], node)
        redis.call('HSET', KEYS[1], field, now)
      end
    end
  end
  local gone, unknown = false, {}
  each_witness(function(of, base, seen)
    local silent = passes(of, seen)
    if silent == nil then
      -- It was lost before it was replicated, and with it what was seen in it.
      if seen > base and redis.call('SISMEMBER', KEYS[4], of) == 0 then
        gone = true
        table.insert(unknown, of)
      end
    elseif not silent and passes(of, 0) then
      gone = true
    end
  end)
  if gone then
    begin(ARGV[3], '1')
    for _, of in ipairs(unknown) do
      remember_dead(of)
    end
  end
end

redis.call('HSET', KEYS[1], 'generation', generation, 'open', generation, 'seq', seq, 'era', era,
  'replication', replication, 'n:' .. ARGV[1], now)
redis.call('SREM', KEYS[3], ARGV[1])
local memory = redis.call('INFO', 'memory')
local bounded = string.match(memory, 'maxmemory:(%d+)') ~= '0'
local evicts = bounded and string.match(memory, 'maxmemory_policy:(%S+)') ~= 'noeviction'
local before = string.match(info, 'master_replid2:(%x+)') or ''
return { 'IN', generation, seq, era, replication, before, evicts and 1 or 0, lineage }
