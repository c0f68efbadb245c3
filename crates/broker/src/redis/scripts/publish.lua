-- tidewire publish 3
-- Places messages in their order: fence, then for each idempotency, place, remember, keep, tell (delivery rules R15, R16,
-- R20 to R22).
--
-- KEYS  1 fence, then for every message its stream, its record, and its idempotency key where it has one
-- ARGV  1 generation  2 replication id, or '' where an earlier call of this flush has compared it  3 node field  4 where
--       traces are told, then for every message
--       0 Pub/Sub name  1 body  2 messages kept  3 history's ms  4 record's ms  5 fingerprint, or ''  6 key's ms  7 trace,
--       or ''
-- Gives {'FENCED'}, or for every message its seq, {'FENCED'}, {'SAME', generation, seq}, {'REUSED'} or an error.

local call, fence_key, generation = redis.call, KEYS[1], ARGV[1]
local fence = call('HMGET', fence_key, 'open', 'seq', ARGV[3])
if fence[1] ~= generation or not fence[2] or not fence[3] then
  return { 'FENCED' }
end
if ARGV[2] ~= '' and string.match(call('INFO', 'replication'), 'master_replid:(%x+)') ~= ARGV[2] then
  -- The rest of the flush does not compare again, so the fence is shut for it, until a handshake opens it.
  call('HDEL', fence_key, 'open')
  return { 'FENCED' }
end

-- Without a record nothing is known below the floor, but what the stream still holds is (R20).
local function last_without_record(stream)
  local last = call('HMGET', fence_key, 'floor')[1] or fence[2]
  local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local at = newest and string.match(newest[1], '^(%d+)')
  return at and tonumber(at) > tonumber(last) and at or last
end

-- Adds an entry to a stream, which is made where `makes` says so. Whoever reads entries passes over fields that it does not know.
local function add(stream, makes, kept, id, last, body, trace)
  local pcall = redis.pcall
  if trace == '' then
    if makes then
      return pcall('XADD', stream, 'MAXLEN', '=', kept, id, 'p', last, 'm', body)
    end
    return pcall('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '=', kept, id, 'p', last, 'm', body)
  elseif makes then
    return pcall('XADD', stream, 'MAXLEN', '=', kept, id, 'p', last, 'm', body, 't', trace)
  end
  return pcall('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '=', kept, id, 'p', last, 'm', body, 't', trace)
end

local head, shut = '1 ' .. generation .. ' ', false
local first, number, repeated = nil, nil, {}
local function place(stream, record, key, at)
  local body, kept, history_ms, fingerprint = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 5]
  local trace = ARGV[at + 7]
  if key then
    local known = call('GET', key)
    if known then
      local of, seq, same = string.match(known, '^(%w+) (%d+) (%x+)$')
      if same ~= fingerprint then
        return { 'REUSED' }
      end
      repeated[#repeated + 1] = key
      return { 'SAME', of, seq }
    end
  end

  -- The first write: where memory is full, Redis refuses it, and with it all of this message (R15). Whatever follows has
  -- its place from here, and the counter catches up once, at the end.
  if number then
    number = number + 1
  else
    number = call('HINCRBY', fence_key, 'seq', 1)
    first = number
  end
  local seq, chained = string.format('%.0f', number), ' +\n'
  local last = call('SET', record, seq, 'KEEPTTL', 'GET')
  if not last then
    last, chained = last_without_record(stream), ' -\n'
  end

  -- Expiries are set for a sixteenth longer than asked, and again once that has passed: looking costs less than setting.
  -- Record and stream are set together, so what is left to the one tells of the other.
  local spare = math.floor(history_ms / 16)
  local record_ms = tonumber(ARGV[at + 4])
  local left = call('PTTL', record)
  local is_due = left < record_ms or left > record_ms + spare
  if kept == '0' then
    call('DEL', stream)
  else
    local added = add(stream, false, kept, seq .. '-0', last, body, trace)
    if not added then
      is_due = true
      added = add(stream, true, kept, seq .. '-0', last, body, trace)
    end
    if type(added) == 'table' and added.err then
      if string.find(added.err, 'smaller', 1, true) or string.find(added.err, 'WRONGTYPE', 1, true) then
        -- Somebody set the counter back, or wrote over the stream. There is no way on in this log: the next handshake
        -- begins another one, under other keys (fault F14).
        call('DEL', fence_key)
        shut = true
        return { 'FENCED' }
      end
      return added
    end
    if is_due then
      call('PEXPIRE', stream, history_ms + spare)
    end
  end
  if is_due then
    call('PEXPIRE', record, record_ms + spare)
  end

  if key then
    call('SET', key, generation .. ' ' .. seq .. ' ' .. fingerprint, 'PX', ARGV[at + 6])
  end
  -- Apart from the message, and before it: a node that knows nothing of traces reads the message all the same.
  if trace ~= '' then
    call('PUBLISH', ARGV[4], head .. seq .. ' ' .. trace)
  end
  call('PUBLISH', ARGV[at], head .. seq .. ' ' .. last .. chained .. body)
  return number
end

-- What fails is one message, and not those around it. One by itself fails as the whole script does, which costs less.
local function attempt(...)
  local done, placed = pcall(place, ...)
  return (done or type(placed) == 'table') and placed or { err = placed }
end
local try = #ARGV == 12 and place or attempt
local answers, count, key_at = {}, 0, 2
for at = 5, #ARGV, 8 do
  local key = ARGV[at + 5] ~= '' and KEYS[key_at + 2] or nil
  local answer = { 'FENCED' }
  if not shut then
    answer = try(KEYS[key_at], KEYS[key_at + 1], key, at)
  end
  count = count + 1
  answers[count] = answer
  key_at = key_at + (key and 3 or 2)
end
if number and number > first and not shut then
  call('HINCRBY', fence_key, 'seq', number - first)
end
-- A WAIT behind a repetition must cover the first write, so this writes (R21), and memory being full is no reason to refuse
-- what is stored already. Last, since once a script has written, Redis refuses none of its writes for want of memory.
for _, key in ipairs(repeated) do
  call('PEXPIRE', key, math.max(call('PTTL', key), 1))
end
return answers
