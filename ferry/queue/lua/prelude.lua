-- What every script shares. Key names and constants above this line come from ferry/queue/keys.py.
-- All keys begin with one hash tag, so they lie in one slot and may be built here; KEYS holds one of them, for a cluster.

local function time_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- The steps that the leader took out of Redis' clock, and the steady time it last saw; in microseconds.
local function known_steps()
  local offset, seen = string.match(redis.call('GET', CLOCK) or '0 0', '^(%S+) (%S+)$')
  return tonumber(offset), tonumber(seen)
end

-- Returns four times. Redis' own clock in microseconds: for what is shown, and beside what Redis expires. The steady
-- time in milliseconds and in microseconds: for leases, deadlines, heartbeats and limits. The steady time is Redis' clock
-- without its steps (clock_step.lua), and it never goes back. Until the leader has seen a step forward, it has that step.
-- So the last is the latest steady time that is sure, in microseconds: the leader's own, and AHEAD_US more.
local function now()
  local us = time_us()
  local offset, seen = known_steps()
  local steady_us = math.max(us - offset, seen)
  local sure_us = seen > 0 and math.min(steady_us, seen + AHEAD_US) or steady_us
  return us, math.floor(steady_us / 1000), steady_us, sure_us
end

local function text(number) return string.format('%.0f', number) end

-- Redis with no memory left refuses what needs some, but only until a script's first write, and a deletion is never
-- refused. So a script that begins with this one is carried out: what runs is recorded and what waits goes on, however
-- full Redis is. Submits keep out of its last memory.
local function despite_full_memory() redis.call('DEL', NOTHING) end

-- One command over a long list; Lua's stack bounds the arguments of one call.
local function in_pieces(command, key, items)
  for i = 1, #items, 1000 do redis.call(command, key, unpack(items, i, math.min(i + 999, #items))) end
end

local function change_waiting(key, rows, bytes)
  local left = redis.call('HINCRBY', key, 'rows', text(rows))
  redis.call('HINCRBY', key, 'bytes', text(bytes + 0))  -- Lua's -0 is no number to Redis
  if left <= 0 then redis.call('DEL', key) end
end

-- Change what waits for a model, and in all; a hash goes when nothing waits, so that an idle Redis is empty.
local function change_backlog(model, rows, bytes)
  change_waiting(BACKLOG .. model, rows, bytes)
  change_waiting(TOTAL, rows, bytes)
end

-- Level-triggered: as many tickets as there are batches waiting, at most one per live worker.
-- LLEN is the truth, so a lost ticket is replaced and none is sent twice.
local function top_up(model, seed, now_ms)
  local rows = tonumber(redis.call('HGET', BACKLOG .. model, 'rows') or 0)
  if rows <= 0 then return 0 end
  local config = redis.call('HMGET', MODEL .. model, 'max_rows', 'ticket', 'tuned_max_rows', 'paused')
  if not config[2] or config[4] then return 0 end
  local cap = math.max(1, redis.call('ZCOUNT', LIVE .. model, now_ms - LIVE_MS, '+inf'))
  local want = math.min(cap, math.ceil(rows / tonumber(config[3] or config[1])))
  local sent = 0
  for n = redis.call('LLEN', TICKETS .. model) + 1, want do
    local ticket = string.gsub(config[2], TICKET_ID, seed .. '-' .. n)
    redis.call('LPUSH', TICKETS .. model, ticket)
    sent = sent + 1
  end
  return sent
end

-- Steps of bulk batches stand among the jobs; the id of one is {batch}/{step}.
local function is_step(id) return string.find(id, '/', 1, true) ~= nil end

-- Accepted after a step forward that the leader has not seen, or while nobody led: only the leader knows which, and it
-- takes that step out of the times of these jobs and batches (expire.lua). The times are of `now`.
local function note_unsure(ids, steady_us, sure_us)
  if steady_us <= sure_us then return end
  local noted = {}
  for _, id in ipairs(ids) do
    noted[#noted + 1] = text(steady_us)
    noted[#noted + 1] = id
  end
  in_pieces('ZADD', UNSURE, noted)
end

local ended = {}  -- ids of the jobs this script made terminal
local news = {}   -- what it tells of them: {fields they share, ids, their outputs}
local kept = {}   -- ids of those whose inputs stay: dead letters
local freed = {}  -- ids of those that count no more against a limit of their API key, by the key's id

-- Make a job terminal; its record lives on for its own time. `limited_by`: the API key that it counts against, or false.
local function finish(id, ttl_ms, fields, limited_by)
  if limited_by then
    freed[limited_by] = freed[limited_by] or {}
    table.insert(freed[limited_by], id)
  end
  fields[#fields + 1] = 'token'
  fields[#fields + 1] = ''
  redis.call('HSET', JOB .. id, unpack(fields))
  redis.call('PEXPIRE', JOB .. id, ttl_ms)
  ended[#ended + 1] = id
end

-- Last step of every script that ends jobs: drop their inputs and deadlines, and tell who waits.
local function wind_up()
  if #ended == 0 then return end
  in_pieces('ZREM', DEADLINES, ended)
  for key, ids in pairs(freed) do in_pieces('ZREM', UNFINISHED .. key, ids) end
  local inputs = {}
  for _, id in ipairs(ended) do if not kept[id] then inputs[#inputs + 1] = INPUT .. id end end
  for i = 1, #inputs, 1000 do redis.call('DEL', unpack(inputs, i, math.min(i + 999, #inputs))) end
  redis.call('PUBLISH', SETTLED, cmsgpack.pack(news))
end

-- Take a job that waits out of where it waits.
local function unqueue(id, model, class, entry, rows, bytes)
  if entry == '' then
    redis.call('LREM', ALONE .. model, 1, id)
  else
    local stream = WAITING .. model .. ':' .. class
    redis.call('XDEL', stream, entry)
    if redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) end
  end
  change_backlog(model, -rows, -bytes)
end

-- End a job that was not computed (canceled, or past its deadline), wherever it stands. Returns its model, or false when
-- it was not open.
local function cut_short(id, code, message, now_us)
  local job = redis.call('HMGET', JOB .. id, 'state', 'model', 'class', 'entry', 'rows', 'bytes', 'ttl_ms', 'limited_by')
  if job[1] ~= 'queued' and job[1] ~= 'running' then return false end
  if job[1] == 'queued' then unqueue(id, job[2], job[3], job[4], job[5], job[6]) end
  redis.call('HINCRBY', COUNTS .. job[2], code, 1)
  local fields = {'state', 'canceled', 'error_code', code, 'error', message, 'completed_us', text(now_us)}
  news[#news + 1] = {{unpack(fields)}, {id}, {}}
  finish(id, job[7], fields, job[8])
  return job[2]
end

-- Let a job that was claimed wait again, to be claimed by itself; `is_free`: that claim is no attempt of its.
local function put_back(id, model, rows, bytes, is_free)
  redis.call('HINCRBY', COUNTS .. model, is_free and 'put_back' or 'retries', 1)
  if is_free then redis.call('HINCRBY', JOB .. id, 'attempts', -1) end
  redis.call('HSET', JOB .. id, 'state', 'queued', 'token', '')
  redis.call('RPUSH', ALONE .. model, id)
  change_backlog(model, rows, bytes)
end

-- Forget a job, whatever its state.
local function erase(id)
  redis.call('DEL', JOB .. id, INPUT .. id)
  redis.call('ZREM', DEAD, id)
end

-- Stand for election as the keeper, or stay it.
local function leads(holder)
  if redis.call('SET', KEEPER, holder, 'NX', 'PX', KEEPER_LOCK_MS) then return true end
  if redis.call('GET', KEEPER) ~= holder then
    -- Redis' clock went back, and with it the end of the lock: a dead leader must not keep it for that long.
    if redis.call('PTTL', KEEPER) > KEEPER_LOCK_MS then redis.call('PEXPIRE', KEEPER, KEEPER_LOCK_MS) end
    return false
  end
  redis.call('PEXPIRE', KEEPER, KEEPER_LOCK_MS)
  return true
end
