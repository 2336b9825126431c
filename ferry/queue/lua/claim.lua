-- Take waiting jobs of one model under a lease, or add to a claim that is held.
-- ARGV  name:version, token, max rows, lease in ms, seed, 1 for a fresh claim or 0 to add to one,
--       share of its rows that each class is owed which waits behind a higher one, 1 for all classes or 0 to leave bulk alone,
--       digest of the files that the worker serves (empty: not checked); under another than the registered one it gets nothing,
--       rows up to which others fill a claim that has high-priority jobs
-- Reply now_us, rows that the claim might have had (fewer than asked for where it has high-priority jobs), then per job: id, rows, attempt, input (nil beyond CLAIMED_INPUT_BYTES: read it by itself), origin or '',
--       when it was submitted in ms.
--       A step of a bulk batch comes by itself and has no input.
local model, token, room, lease_ms, seed = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local fresh, share, may_be_bulk = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[8] == '1'
local beside_high = tonumber(ARGV[10])
local now_us, now_ms = now()
despite_full_memory()
local started_us = text(now_us)
local reply, ids, small, places = {started_us, room}, {}, {}, {}
local taken_rows, taken_bytes = 0, 0
local lost_rows, lost_bytes = 0, 0
local has_step, has_skipped = false, false

if not fresh and not redis.call('ZSCORE', LEASES, token) then return reply end
local config = redis.call('HMGET', MODEL .. model, 'paused', 'digest')
if ARGV[9] ~= '' and ARGV[9] ~= config[2] then return reply end

-- A job whose deadline has passed is skipped. The leader alone ends it: it knows whether Redis' clock has stepped.
local function in_time(deadline_ms) return tonumber(deadline_ms or '+inf') > now_ms end

-- Its input stays with a job until it is settled.
local function take(id, rows, bytes, attempt, origin, created_ms)
  ids[#ids + 1] = id
  taken_rows = taken_rows + rows
  taken_bytes = taken_bytes + bytes
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, rows, attempt, false
  reply[n + 5], reply[n + 6] = origin, created_ms
  if taken_bytes <= CLAIMED_INPUT_BYTES then
    small[#small + 1] = INPUT .. id
    places[#places + 1] = n + 4
  end
end

local function hold(id, attempt)
  return redis.call('HSET', JOB .. id, 'state', 'running', 'token', token, 'attempts', attempt,
    'started_us', started_us, 'entry', '')
end

-- Hold what was never claimed. Returns false where there is no such job any more.
local function hold_new(id)
  if hold(id, 1) == 3 then return true end  -- token, attempts and start are new; were the state new too, there was none
  redis.call('DEL', JOB .. id)
  return false
end

local function take_step(id, rows, attempt)
  has_step = true
  ids[1] = id
  taken_rows = tonumber(rows)
  for _, part in ipairs({id, rows, attempt, '', '', '0'}) do reply[#reply + 1] = part end
end

-- A step whose claim lapsed goes before those that never had one.
local function take_step_alone()
  while not has_step do
    local id = redis.call('LPOP', STEPS_ALONE .. model)
    if not id then return end
    local job = redis.call('HMGET', JOB .. id, 'state', 'rows', 'attempts')
    if job[1] == 'queued' then
      hold(id, job[3] + 1)
      take_step(id, job[2], job[3] + 1)
    end
  end
end

local function take_alone()
  for _, id in ipairs(redis.call('LRANGE', ALONE .. model, 0, LOOKED_THROUGH - 1)) do
    local job = redis.call('HMGET', JOB .. id, 'state', 'rows', 'bytes', 'attempts', 'origin', 'created_us')
    local is_queued = job[1] == 'queued'
    local is_due = is_queued and in_time(redis.call('ZSCORE', DEADLINES, id))
    if is_due or not is_queued then redis.call('LREM', ALONE .. model, 1, id) end
    if is_due then
      hold(id, job[4] + 1)
      take(id, job[2], job[3], job[4] + 1, job[5] or '', text(job[6] / 1000))
      return
    end
    has_skipped = has_skipped or is_queued
  end
end

-- Whether the leader will end this overdue job, which it finds in DEADLINES alone. Redis may have evicted that key, or
-- the job's record. An entry without its record is never ended: the claim takes it out.
local function is_ended_by_leader(id, entry, deadline_ms)
  local job = redis.call('HMGET', JOB .. id, 'state', 'entry')
  if job[1] ~= 'queued' or job[2] ~= entry then return false end
  redis.call('ZADD', DEADLINES, 'NX', deadline_ms, id)
  return true
end

local function stream_of(class) return WAITING .. model .. ':' .. class end

-- First in, first out, up to `most` rows in all, until the next job does not fit; a job larger than the whole room comes
-- first or not at all. What stands in a stream has never been claimed before, and whoever ends it takes it out.
local function take_from(class, most, may_be_large)
  local stream = stream_of(class)
  if class == 'bulk' and taken_rows == 0 and may_be_large then take_step_alone() end
  local after, skipped = '-', 0
  while taken_rows < most and not has_step and skipped < LOOKED_THROUGH do
    local entries = redis.call('XRANGE', stream, after, '+', 'COUNT', most - taken_rows)
    if #entries == 0 then return end
    local gone, is_full = {}, false
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      if tonumber(fields[2]) > STEP_FORMAT_VERSION then is_full = true break end
      local id, rows, bytes = fields[4], fields[6], fields[8]
      after = '(' .. entry[1]
      local fits = taken_rows + rows <= most or (may_be_large and taken_rows == 0)
      local is_step = fields[11] == 's'
      if not fits or (is_step and (taken_rows > 0 or not fresh)) then is_full = true break end
      if is_step then
        gone[#gone + 1] = entry[1]
        if hold_new(id) then take_step(id, rows, 1) break end
      elseif not in_time(fields[10]) then
        skipped = skipped + 1
        if is_ended_by_leader(id, entry[1], fields[10]) then
          has_skipped = true
        else
          gone[#gone + 1] = entry[1]
          lost_rows, lost_bytes = lost_rows + rows, lost_bytes + bytes
        end
      else
        gone[#gone + 1] = entry[1]
        -- An entry's id begins with when it was made.
        if hold_new(id) then take(id, rows, bytes, 1, fields[12] or '', string.match(entry[1], '^%d+')) end
      end
    end
    in_pieces('XDEL', stream, gone)
    if redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) return end
    if is_full or has_step then return end
  end
end

-- Classes that wait behind a higher one save up a share of every claim's rows, and go first once a job can be had for it.
local function pay_lower(waiting)
  local fields = {}
  for i = 2, #waiting do fields[#fields + 1] = 'owed:' .. waiting[i] end
  local owed = redis.call('HMGET', BACKLOG .. model, unpack(fields))
  for i = #waiting, 2, -1 do  -- in thousandths of a row: shares add up without an error
    local due, before = math.min(room * 1000, (owed[i - 1] or 0) + math.floor(share * room * 1000 + 0.5)), taken_rows
    take_from(waiting[i], math.min(room, taken_rows + math.floor(due / 1000)), due >= room * 1000)
    redis.call('HSET', BACKLOG .. model, fields[i - 1], math.max(0, due - (taken_rows - before) * 1000))
  end
end

local function take_in_order()
  local waiting = {}
  for _, class in ipairs(may_be_bulk and {'high', 'normal', 'bulk'} or {'high', 'normal'}) do
    if redis.call('XLEN', stream_of(class)) > 0 or (class == 'bulk' and redis.call('EXISTS', STEPS_ALONE .. model) == 1) then
      waiting[#waiting + 1] = class
    end
  end
  if fresh and #waiting > 1 then pay_lower(waiting) end
  for _, class in ipairs(waiting) do
    local before = #ids
    take_from(class, room, fresh)
    -- A claim's jobs are settled together: high-priority ones do not wait for a full claim of others.
    if class == 'high' and #ids > before then room = math.min(room, math.max(beside_high, taken_rows)) end
  end
end

local is_paused = config[1]
if fresh and not is_paused then take_alone() end
if not is_paused and (#ids == 0 or not fresh) then take_in_order() end

if #ids > 0 then
  for i = 1, #small, 1000 do
    for n, input in ipairs(redis.call('MGET', unpack(small, i, math.min(i + 999, #small)))) do
      reply[places[i + n - 1]] = input
    end
  end
  in_pieces('SADD', CLAIM .. token, ids)
  redis.call('ZADD', LEASES, now_ms + lease_ms, token)
end
if #ids > 0 or lost_rows > 0 then change_backlog(model, -taken_rows - lost_rows, -taken_bytes - lost_bytes) end
reply[2] = room
wind_up()
-- A claim that only skipped sends no ticket: a worker would skip the same jobs again and again. expire.lua does.
if #ids > 0 or not has_skipped then top_up(model, seed, now_ms) end
return reply
