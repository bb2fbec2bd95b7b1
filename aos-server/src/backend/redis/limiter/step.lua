-- One step of the shared rate limiter: a replica tells what it was granted within the last minute, and may ask for
-- one more request. What is promised, and why it holds, is in limiter.rs.
--
-- KEYS[1]   a hash: `epoch`, `complete` (once every replica has told everything), `contacts` (replica=time …),
--           `<limit>/<replica>` (a replica's record of a limit: "sequence time held-requests held-tokens|log", the log being
--           "time:requests:tokens …") and `<limit>/want` ("until requests tokens")
-- ARGV[1]   the time in ms; empty for Redis's own clock
-- ARGV[2]   the replica
-- ARGV[3]   how many replicas there are
-- ARGV[4]   the epoch in which this replica has told everything
-- ARGV[5]   the time of the last answer it got
-- ARGV[6]   the limit; empty for "this replica has told everything", and then nothing follows but a 0
-- ARGV[7]   rises with every step of this limit
-- ARGV[8,9] requests and tokens that a minute may have
-- ARGV[10,11] requests and tokens that are wanted
-- ARGV[12,13] requests and tokens that the replica may grant itself before the next step
-- ARGV[14…] its log: age in ms, requests, tokens; and so on
--
-- Gives the epoch, and: status, time, replicas in contact, ms to wait, requests and tokens that the replica may grant
-- itself should this be the last answer, and what ends to count within each of the next twelve spans of 5 s.

local WINDOW, SILENT, KEPT = 60000, 2500, 180000
local SPAN, SPANS = 5000, 12
local RETRY = 1000
local REPORT, CLOSED, OPEN, GRANTED, STALE = 0, 1, 2, 3, 4

local key, me, live, told_in, heard = KEYS[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local limit, sequence = ARGV[6], tonumber(ARGV[7])

local function text(number)
  return string.format('%.0f', number)
end

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

if limit == '' then
  -- A step that was under way for long must not make a silent replica look present.
  if told_in ~= epoch or now - heard > SILENT then
    return { epoch, { REPORT, now, present, 0, 0, 0 } }
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
  return { epoch, { OPEN, now, present, 0, 0, 0 } }
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
  return { epoch, { STALE, now, present, 0, 0, 0 } }
end

local most = { tonumber(ARGV[8]), tonumber(ARGV[9]) }
local want = { tonumber(ARGV[10]), tonumber(ARGV[11]) }

-- What was granted within the last minute: here, by everybody, and as a list.
local own, used, log = { 0, 0 }, { 0, 0 }, {}
local function count(time, requests, tokens)
  if time + WINDOW <= now then return false end
  log[#log + 1] = { time, requests, tokens }
  used[1], used[2] = used[1] + requests, used[2] + tokens
  return true
end
local kept = {}
local function count_own(time, requests, tokens)
  if count(time, requests, tokens) then
    own[1], own[2] = own[1] + requests, own[2] + tokens
    kept[#kept + 1] = text(time) .. ':' .. text(requests) .. ':' .. text(tokens)
  end
end
for i = 14, #ARGV, 3 do
  count_own(now - tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
end

-- What the others may grant themselves. Of those who are silent the fair share is kept back instead.
local held = { 0, 0 }
for i = 3, #fields do
  if records[i] then
    local time, requests, tokens, entries = records[i]:match('^%d+ (%d+) (%d+) (%d+)|(.*)$')
    local seen = contacts[ids[i]]
    if now - seen <= SILENT and seen - tonumber(time) <= 4 * SILENT then
      held[1], held[2] = held[1] + tonumber(requests), held[2] + tonumber(tokens)
    end
    for at, r, t in entries:gmatch('(%d+):(%d+):(%d+)') do
      count(tonumber(at), tonumber(r), tonumber(t))
    end
  end
end

local replicas = math.max(live, present, 1)
local share = { most[1] / replicas, most[2] / replicas }
most = { share[1] * present, share[2] * present }

-- What somebody waits for is not held for those who have no use for it.
local wanted = { 0, 0 }
local wanted_until, wanted_requests, wanted_tokens = (records[2] or ''):match('^(%d+) (%d+) (%d+)$')
if wanted_until and tonumber(wanted_until) > now then
  wanted = { tonumber(wanted_requests), tonumber(wanted_tokens) }
end

local status, wait = REPORT, 0
if here and told_in == epoch then
  -- In a new epoch nobody knows what those have been granted who have not told yet.
  local began = tonumber(epoch:match('^%d+'))
  status = (complete or now - began >= WINDOW + 2 * SILENT) and OPEN or CLOSED
end

if status == OPEN and want[1] > 0 then
  local function fits(requests, tokens)
    return requests + want[1] <= most[1] and tokens + want[2] <= most[2]
  end
  -- What no window could hold goes alone, in an empty one.
  local too_large = want[1] > most[1] or want[2] > most[2]
  if fits(used[1] + held[1], used[2] + held[2]) or (too_large and #log == 0) then
    status = GRANTED
    count_own(now, want[1], want[2])
  else
    table.sort(log, function(a, b) return a[1] < b[1] end)
    local requests, tokens, last = used[1], used[2], nil
    for _, entry in ipairs(log) do
      if fits(requests, tokens) then break end
      requests, tokens, last = requests - entry[2], tokens - entry[3], entry[1]
    end
    if last then
      wait = math.max(1, last + WINDOW - now)
    else
      wait = RETRY
      wanted = { math.max(wanted[1], want[1]), math.max(wanted[2], want[2]) }
      local pending = text(now + 3 * RETRY) .. ' ' .. text(wanted[1]) .. ' ' .. text(wanted[2])
      redis.call('HSET', key, limit .. '/want', pending)
    end
  end
end

-- What the replica may grant itself: all that is left when it is alone, otherwise a part, so that half is left for
-- whoever comes.
local promise = { 0, 0 }
if status == OPEN or status == GRANTED then
  for i = 1, 2 do
    local left = most[i] - used[i]
    if replicas > 1 then
      left = math.min(share[i] - own[i], (left - wanted[i]) / (2 * replicas), left - held[i])
    end
    promise[i] = math.max(0, math.floor(left))
  end
end

-- Until it tells that it got this answer, it may go by the one before.
local hold = { math.max(promise[1], tonumber(ARGV[12])), math.max(promise[2], tonumber(ARGV[13])) }
redis.call('HSET', key, fields[1], text(sequence) .. ' ' .. text(now) .. ' ' .. text(hold[1]) .. ' ' .. text(hold[2])
  .. '|' .. table.concat(kept, ' '))

local answer = { status, now, present, wait, promise[1], promise[2] }
local ends = {}
for i = 1, 2 * SPANS do ends[i] = 0 end
for _, entry in ipairs(log) do
  local span = math.min(SPANS, math.max(1, math.ceil((entry[1] + WINDOW - now) / SPAN)))
  ends[2 * span - 1], ends[2 * span] = ends[2 * span - 1] + entry[2], ends[2 * span] + entry[3]
end
for i = 1, 2 * SPANS do answer[#answer + 1] = ends[i] end
return { epoch, answer }
