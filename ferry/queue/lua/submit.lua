-- Accept jobs into the queue, each with its own verdict; safe to send twice.
-- ARGV  seed, ttl_ms, then of what may wait: rows and bytes of one model, rows and bytes of all,
--       then per job: id, name:version, class, rows, single, deadline in ms, bytes, fingerprint or '', replay_of or '',
--       owner or '', origin or '', limits of its API key or '' ("{key id} {jobs a second or 0} {most unfinished or 0}"),
--       input ('' when it was set ahead)
-- Reply now_us, then per job: verdict, rows waiting for its model (for all, where that is what is full; where its key is
--       over a limit: the jobs of the key that are not done, or the milliseconds until it may send another);
--       then what is left of the limits of keys (add_limits_left)
local seed, ttl_ms = ARGV[1], ARGV[2]
local most = {rows = tonumber(ARGV[3]), bytes = tonumber(ARGV[4])}
local most_in_all = {rows = tonumber(ARGV[5]), bytes = tonumber(ARGV[6])}
local first, size = 7, 13
local now_us, now_ms, steady_us, sure_us = now()
local created_us = text(now_us)
local reply, models, accepted = {created_us}, {}, {}

-- What waits under a key, and what this call adds to it.
local function waiting_at(key)
  local waiting = redis.call('HMGET', key, 'rows', 'bytes')
  return {rows = tonumber(waiting[1] or 0), bytes = tonumber(waiting[2] or 0), new_rows = 0, new_bytes = 0}
end

local function has_room(waiting, limit, rows, bytes)
  return waiting.rows + waiting.new_rows + rows <= limit.rows and waiting.bytes + waiting.new_bytes + bytes <= limit.bytes
end

local function add(waiting, rows, bytes)
  waiting.new_rows = waiting.new_rows + rows
  waiting.new_bytes = waiting.new_bytes + bytes
end

-- Whether Redis has room for more jobs. Asking it takes some 20 microseconds, so a small call takes a recent answer.
local function has_memory(bytes)
  local recent = bytes < MEMORY_LOOK_BYTES and redis.call('GET', MEMORY)
  if recent then return recent == '0' end
  local info = redis.call('INFO', 'memory')
  local used, max = string.match(info, 'used_memory:(%d+)'), tonumber(string.match(info, 'maxmemory:(%d+)') or 0)
  local is_full = max > 0 and tonumber(used) > max * MEMORY_FULL_PERCENT / 100
  redis.call('SET', MEMORY, is_full and '1' or '0', 'PX', MEMORY_LOOK_MS)
  return not is_full
end

local bytes_in_all = 0
for i = first, #ARGV, size do bytes_in_all = bytes_in_all + ARGV[i + 6] end
local is_room = has_memory(bytes_in_all)
local total = waiting_at(TOTAL)

-- An input that came ahead of the script stands under a name of this call, so that it overwrites no other.
local function ahead(id) return INPUT .. id .. '/' .. seed end

-- Whether a known job was asked for in the same words; who gave no fingerprint sends his own job again.
local function is_same(id, fingerprint)
  if fingerprint == '' then return true end
  local here = accepted[id]
  return fingerprint == (here and ARGV[here + 7] or redis.call('HGET', JOB .. id, 'fingerprint'))
end

-- Every limit is looked at before the first write.
for i = first, #ARGV, size do
  local id, model, rows, bytes = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 6])
  local waiting = models[model]
  if not waiting then
    local config = redis.call('HMGET', MODEL .. model, 'ticket', 'draining')
    waiting = waiting_at(BACKLOG .. model)
    waiting.is_known, waiting.is_draining = config[1], config[2]
    models[model] = waiting
  end
  if ARGV[i + 12] == '' and bytes > 0 and redis.call('EXISTS', ahead(id)) == 0 then
    return redis.error_reply('OOM an input was not set ahead of its script')
  end
  local verdict, told = 'accepted', nil
  if accepted[id] or redis.call('EXISTS', JOB .. id) == 1 then
    verdict = is_same(id, ARGV[i + 7]) and 'exists' or 'differs'
  elseif not waiting.is_known then
    verdict = 'unregistered'
  elseif waiting.is_draining then
    verdict = 'draining'
  elseif not is_room then
    verdict = 'no_memory'
  elseif not has_room(waiting, most, rows, bytes) then
    verdict = 'full'
  elseif not has_room(total, most_in_all, rows, bytes) then
    verdict, waiting = 'full_in_all', total
  else
    local over_what, number = over(ARGV[i + 11], id, ARGV[i + 5], steady_us, now_ms)
    if over_what then
      verdict, told = over_what, number
    else
      add(waiting, rows, bytes)
      add(total, rows, bytes)
      waiting.new_jobs = (waiting.new_jobs or 0) + 1
      accepted[id] = i
    end
  end
  reply[#reply + 1] = verdict
  reply[#reply + 1] = told or waiting.rows + waiting.new_rows
end

local deadlines, taken = {}, {}
for i = first, #ARGV, size do
  local id, model, class, rows, bytes, input = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 6], ARGV[i + 12]
  if accepted[id] == i then
    local deadline_ms = text(now_ms + ARGV[i + 5])
    local shown_deadline_us = text(math.floor(now_us / 1000) + ARGV[i + 5]) .. '000'
    local origin, limits = ARGV[i + 10], per_key[ARGV[i + 11]]
    local entry
    if origin == '' then
      entry = redis.call('XADD', WAITING .. model .. ':' .. class, '*',
        'v', FORMAT_VERSION, 'j', id, 'n', rows, 'b', bytes, 'd', deadline_ms)
    else
      entry = redis.call('XADD', WAITING .. model .. ':' .. class, '*',
        'v', FORMAT_VERSION, 'j', id, 'n', rows, 'b', bytes, 'd', deadline_ms, 'o', origin)
    end
    redis.call('HSET', JOB .. id, 'v', FORMAT_VERSION, 'state', 'queued', 'model', model, 'class', class, 'rows', rows,
      'single', ARGV[i + 4], 'bytes', bytes, 'entry', entry, 'created_us', created_us,
      'deadline_us', shown_deadline_us, 'ttl_ms', ttl_ms)
    if ARGV[i + 7] ~= '' then redis.call('HSET', JOB .. id, 'fingerprint', ARGV[i + 7]) end
    if ARGV[i + 8] ~= '' then redis.call('HSET', JOB .. id, 'replay_of', ARGV[i + 8]) end
    if ARGV[i + 9] ~= '' then redis.call('HSET', JOB .. id, 'owner', ARGV[i + 9]) end
    if origin ~= '' then redis.call('HSET', JOB .. id, 'origin', origin) end
    if limits and limits.most > 0 then redis.call('HSET', JOB .. id, 'limited_by', limits.id) end
    if input ~= '' or bytes == '0' then
      redis.call('SET', INPUT .. id, input)
    else
      redis.call('RENAME', ahead(id), INPUT .. id)
      redis.call('PERSIST', INPUT .. id)
    end
    deadlines[#deadlines + 1] = deadline_ms
    deadlines[#deadlines + 1] = id
    taken[#taken + 1] = id
  elseif input == '' and bytes ~= '0' then
    redis.call('DEL', ahead(id))
  end
end
in_pieces('ZADD', DEADLINES, deadlines)
note_unsure(taken, steady_us, sure_us)
charge_limits(steady_us)
for model, waiting in pairs(models) do
  if waiting.new_rows > 0 then
    change_backlog(model, waiting.new_rows, waiting.new_bytes)
    redis.call('HINCRBY', COUNTS .. model, 'submitted', waiting.new_jobs)
    top_up(model, seed, now_ms)
  end
end
add_limits_left(reply, steady_us)
return reply
