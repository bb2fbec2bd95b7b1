-- One step of the shared rate limiter: a replica tells what it was granted within the last minute, and may ask for
-- one more call. What is promised, and why it holds, is in limiter.rs.
--
-- An amount is as many numbers as there are KINDS (requests, tokens, input tokens, output tokens), a log is a time and an
-- amount, and so on; where they are text, with spaces between the numbers.
--
-- KEYS[1]   a hash: `epoch`, `complete` (once every replica has told everything), `contacts` (replica=time …),
--           `<limit>/<replica>` (a replica's record of a limit: sequence, time, held amount, log) and `<limit>/want`
--           (until when, amount)
-- ARGV[1]   the time in ms; empty for Redis's own clock
-- ARGV[2]   the replica
-- ARGV[3]   how many replicas there are
-- ARGV[4]   the epoch in which this replica has told everything
-- ARGV[5]   the time of the last answer it got
-- ARGV[6]   the limit; empty for "this replica has told everything", and then nothing follows but a 0
-- ARGV[7]   rises with every step of this limit
-- ARGV[8]   the amount that a minute may have
-- ARGV[9]   the amount that is wanted; all 0 for none
-- ARGV[10]  the amount that the replica may grant itself before the next step
-- ARGV[11]  its log, with ages in ms for times
--
-- Gives the epoch, and: status, time, replicas in contact, ms to wait, the amount that the replica may grant itself should
-- this be the last answer, and the amounts that end to count within each of the next twelve spans of 5 s.

local KINDS = 4
local WINDOW, SILENT, KEPT = 60000, 2500, 180000
local SPAN, SPANS = 5000, 12
local RETRY = 1000
local REPORT, CLOSED, OPEN, GRANTED, STALE = 0, 1, 2, 3, 4

local key, me, live, told_in, heard = KEYS[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local limit, sequence = ARGV[6], tonumber(ARGV[7])

local function text(number)
  return string.format('%.0f', number)
end

local function read(numbers)
  local list = {}
  for number in numbers:gmatch('%d+') do
    list[#list + 1] = tonumber(number)
  end
  return list
end

-- The amount of which each kind is what the function gives.
local function each(of)
  local amount = {}
  for kind = 1, KINDS do
    amount[kind] = of(kind)
  end
  return amount
end

local function none() return 0 end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Without an epoch everything that was here is lost, or there never was anything.
local epoch, complete, contacts_text = unpack(redis.call('HMGET', key, 'epoch', 'complete', 'contacts'))
if not epoch then
  epoch = text(now) .. '.' .. me .. '.' .. text(sequence)
  redis.call('HSET', key, 'epoch', epoch)
end
redis.call('PEXPIRE', key, 3600000)

local contacts, gone, present = {}, {}, 0
for id, seen in (contacts_text or ''):gmatch('(%x+)=(%d+)') do
  seen = tonumber(seen)
  if math.abs(now - seen) > KEPT then
    gone[id] = true
  else
    contacts[id] = seen
    if now - seen <= SILENT then present = present + 1 end
  end
end
local here = contacts[me] and now - contacts[me] <= SILENT

local function answer(status, wait, promise, ends)
  local numbers = { status, now, present, wait }
  for kind = 1, KINDS do
    numbers[#numbers + 1] = promise[kind]
  end
  for span = 1, SPANS do
    for kind = 1, KINDS do
      numbers[#numbers + 1] = ends[span] and ends[span][kind] or 0
    end
  end
  return { epoch, numbers }
end

if limit == '' then
  -- A step that was under way for long must not make a silent replica look present.
  if told_in ~= epoch or now - heard > SILENT then
    return answer(REPORT, 0, each(none), {})
  end
  contacts[me], gone[me] = now, nil
  if not here then present = present + 1 end
  if present >= live then redis.call('HSET', key, 'complete', 1) end
  local list = {}
  for id, seen in pairs(contacts) do
    list[#list + 1] = id .. '=' .. text(seen)
  end
  redis.call('HSET', key, 'contacts', table.concat(list, ' '))
  if next(gone) then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if gone[field:match('/(%x+)$')] then redis.call('HDEL', key, field) end
    end
  end
  return answer(OPEN, 0, each(none), {})
end

local fields, ids = { limit .. '/' .. me, limit .. '/want' }, {}
for id in pairs(contacts) do
  if id ~= me then
    fields[#fields + 1] = limit .. '/' .. id
    ids[#fields] = id
  end
end
local records = redis.call('HMGET', key, unpack(fields))
if records[1] and tonumber(records[1]:match('^%d+')) >= sequence then
  return answer(STALE, 0, each(none), {})
end

local most, want, alone = read(ARGV[8]), read(ARGV[9]), read(ARGV[10])

-- What was granted within the last minute: here, by everybody, and as a list.
local own, used, log = each(none), each(none), {}
local function count(time, amount)
  if time + WINDOW <= now then return false end
  log[#log + 1] = { time = time, amount = amount }
  for kind = 1, KINDS do
    used[kind] = used[kind] + amount[kind]
  end
  return true
end
local kept = {}
local function count_own(time, amount)
  if count(time, amount) then
    kept[#kept + 1] = text(time)
    for kind = 1, KINDS do
      own[kind] = own[kind] + amount[kind]
      kept[#kept + 1] = text(amount[kind])
    end
  end
end
-- Calls the function for each entry of a list of numbers, from the index on.
local function entries(list, from, with)
  for i = from, #list, 1 + KINDS do
    with(list[i], each(function(kind) return list[i + kind] end))
  end
end
entries(read(ARGV[11]), 1, function(age, amount) count_own(now - age, amount) end)

-- What the others may grant themselves. Of those who are silent the fair share is kept back instead.
local held = each(none)
for i = 3, #fields do
  if records[i] then
    local record, seen = read(records[i]), contacts[ids[i]]
    if now - seen <= SILENT and seen - record[2] <= 4 * SILENT then
      for kind = 1, KINDS do
        held[kind] = held[kind] + record[2 + kind]
      end
    end
    entries(record, 3 + KINDS, count)
  end
end

local replicas = math.max(live, present, 1)
local share = each(function(kind) return most[kind] / replicas end)
most = each(function(kind) return share[kind] * present end)

-- What somebody waits for is not held for those who have no use for it.
local wanted = each(none)
local pending = read(records[2] or '')
if pending[1] and pending[1] > now then
  wanted = each(function(kind) return pending[1 + kind] end)
end

local status, wait = REPORT, 0
if here and told_in == epoch then
  -- In a new epoch nobody knows what those have been granted who have not told yet.
  local began = tonumber(epoch:match('^%d+'))
  status = (complete or now - began >= WINDOW + 2 * SILENT) and OPEN or CLOSED
end

if status == OPEN and want[1] > 0 then
  local function fits(others)
    for kind = 1, KINDS do
      if others[kind] + want[kind] > most[kind] then return false end
    end
    return true
  end
  -- What no window could hold goes alone, in an empty one.
  local too_large = not fits(each(none))
  if fits(each(function(kind) return used[kind] + held[kind] end)) or (too_large and #log == 0) then
    status = GRANTED
    count_own(now, want)
  else
    table.sort(log, function(a, b) return a.time < b.time end)
    local left, last = each(function(kind) return used[kind] end), nil
    for _, entry in ipairs(log) do
      if fits(left) then break end
      left, last = each(function(kind) return left[kind] - entry.amount[kind] end), entry.time
    end
    if last then
      wait = math.max(1, last + WINDOW - now)
    else
      wait = RETRY
      wanted = each(function(kind) return math.max(wanted[kind], want[kind]) end)
      local numbers = { text(now + 3 * RETRY) }
      for kind = 1, KINDS do
        numbers[#numbers + 1] = text(wanted[kind])
      end
      redis.call('HSET', key, limit .. '/want', table.concat(numbers, ' '))
    end
  end
end

-- What the replica may grant itself: all that is left when it is alone, otherwise a part, so that half is left for
-- whoever comes.
local promise = each(none)
if status == OPEN or status == GRANTED then
  promise = each(function(kind)
    local left = most[kind] - used[kind]
    if replicas > 1 then
      left = math.min(share[kind] - own[kind], (left - wanted[kind]) / (2 * replicas), left - held[kind])
    end
    return math.max(0, math.floor(left))
  end)
end

-- Until it tells that it got this answer, it may go by the one before.
local record = { text(sequence), text(now) }
for kind = 1, KINDS do
  record[#record + 1] = text(math.max(promise[kind], alone[kind]))
end
redis.call('HSET', key, fields[1], table.concat(record, ' ') .. ' ' .. table.concat(kept, ' '))

local ends = {}
for _, entry in ipairs(log) do
  local span = math.min(SPANS, math.max(1, math.ceil((entry.time + WINDOW - now) / SPAN)))
  ends[span] = ends[span] or each(none)
  for kind = 1, KINDS do
    ends[span][kind] = ends[span][kind] + entry.amount[kind]
  end
end
return answer(status, wait, promise, ends)
