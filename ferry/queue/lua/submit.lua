-- Accept jobs into the queue, each with its own verdict; safe to send twice.
-- ARGV  seed, max_waiting_rows, max_waiting_bytes, ttl_ms,
--       then per job: id, name:version, class, rows, single, deadline in ms, bytes, fingerprint or '',
--       input ('' when it was set ahead)
-- Reply now_us, then per job: verdict, rows waiting for its model
local seed, max_rows, max_bytes, ttl_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local now_us, now_ms = now()
local created_us = text(now_us)
local reply, models, accepted = {created_us}, {}, {}

-- An input that came ahead of the script stands under a name of this call, so that it overwrites no other.
local function ahead(id) return INPUT .. id .. '/' .. seed end

-- Whether a known job was asked for in the same words; who gave no fingerprint sends his own job again.
local function is_same(id, fingerprint)
  if fingerprint == '' then return true end
  local first = accepted[id]
  return fingerprint == (first and ARGV[first + 7] or redis.call('HGET', JOB .. id, 'fingerprint'))
end

-- Every limit is looked at before the first write.
for i = 5, #ARGV, 9 do
  local id, model, rows, bytes = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 6])
  local waiting = models[model]
  if not waiting then
    local backlog = redis.call('HMGET', BACKLOG .. model, 'rows', 'bytes')
    waiting = {rows = tonumber(backlog[1] or 0), bytes = tonumber(backlog[2] or 0), new_rows = 0, new_bytes = 0,
               known = redis.call('HEXISTS', MODEL .. model, 'ticket') == 1}
    models[model] = waiting
  end
  if ARGV[i + 8] == '' and bytes > 0 and redis.call('EXISTS', ahead(id)) == 0 then
    return redis.error_reply('OOM an input was not set ahead of its script')
  end
  local verdict = 'accepted'
  if accepted[id] or redis.call('EXISTS', JOB .. id) == 1 then
    verdict = is_same(id, ARGV[i + 7]) and 'exists' or 'differs'
  elseif not waiting.known then
    verdict = 'unregistered'
  elseif waiting.rows + waiting.new_rows + rows > max_rows or waiting.bytes + waiting.new_bytes + bytes > max_bytes then
    verdict = 'full'
  else
    waiting.new_rows = waiting.new_rows + rows
    waiting.new_bytes = waiting.new_bytes + bytes
    accepted[id] = i
  end
  reply[#reply + 1] = verdict
  reply[#reply + 1] = waiting.rows + waiting.new_rows
end

local deadlines = {}
for i = 5, #ARGV, 9 do
  local id, model, class, rows, bytes, input = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 6], ARGV[i + 8]
  if accepted[id] == i then
    local deadline_ms = text(now_ms + ARGV[i + 5])
    local entry = redis.call('XADD', WAITING .. model .. ':' .. class, '*',
      'v', FORMAT_VERSION, 'j', id, 'n', rows, 'b', bytes, 'd', deadline_ms)
    redis.call('HSET', JOB .. id, 'v', FORMAT_VERSION, 'state', 'queued', 'model', model, 'class', class, 'rows', rows,
      'single', ARGV[i + 4], 'bytes', bytes, 'entry', entry, 'created_us', created_us,
      'deadline_us', deadline_ms .. '000', 'ttl_ms', ttl_ms)
    if ARGV[i + 7] ~= '' then redis.call('HSET', JOB .. id, 'fingerprint', ARGV[i + 7]) end
    if input ~= '' or bytes == '0' then
      redis.call('SET', INPUT .. id, input)
    else
      redis.call('RENAME', ahead(id), INPUT .. id)
      redis.call('PERSIST', INPUT .. id)
    end
    deadlines[#deadlines + 1] = deadline_ms
    deadlines[#deadlines + 1] = id
  elseif input == '' and bytes ~= '0' then
    redis.call('DEL', ahead(id))
  end
end
in_pieces('ZADD', DEADLINES, deadlines)
for model, waiting in pairs(models) do
  if waiting.new_rows > 0 then
    change_backlog(model, waiting.new_rows, waiting.new_bytes)
    top_up(model, seed, now_ms)
  end
end
return reply
