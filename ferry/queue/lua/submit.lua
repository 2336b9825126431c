-- Accept jobs into the queue, each with its own verdict; safe to send twice.
-- ARGV  seed, max_waiting_rows, max_waiting_bytes, ttl_ms,
--       then per job: id, model, version, class, rows, single, deadline in ms, payload
-- Reply now_us, then per job: verdict, rows waiting for its model
local seed, max_rows, max_bytes, ttl_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local now_us, now_ms = now()
local reply, models, accepted = {text(now_us)}, {}, {}

-- Every limit is looked at before the first write.
for i = 5, #ARGV, 8 do
  local model = ARGV[i + 1] .. ':' .. ARGV[i + 2]
  local waiting = models[model]
  if not waiting then
    local backlog = redis.call('HMGET', BACKLOG .. model, 'rows', 'bytes')
    waiting = {rows = tonumber(backlog[1] or 0), bytes = tonumber(backlog[2] or 0), new_rows = 0, new_bytes = 0,
               known = redis.call('HEXISTS', MODEL .. model, 'ticket') == 1}
    models[model] = waiting
  end
  local rows, bytes, verdict = tonumber(ARGV[i + 4]), #ARGV[i + 7], 'accepted'
  if accepted[ARGV[i]] or redis.call('EXISTS', JOB .. ARGV[i]) == 1 then
    verdict = 'exists'
  elseif not waiting.known then
    verdict = 'unregistered'
  elseif waiting.rows + waiting.new_rows + rows > max_rows or waiting.bytes + waiting.new_bytes + bytes > max_bytes then
    verdict = 'full'
  else
    waiting.new_rows = waiting.new_rows + rows
    waiting.new_bytes = waiting.new_bytes + bytes
    accepted[ARGV[i]] = i
  end
  reply[#reply + 1] = verdict
  reply[#reply + 1] = waiting.rows + waiting.new_rows
end

local deadlines = {}
for i = 5, #ARGV, 8 do
  local id, payload = ARGV[i], ARGV[i + 7]
  if accepted[id] == i then
    local entry = redis.call('XADD', WAITING .. ARGV[i + 1] .. ':' .. ARGV[i + 2] .. ':' .. ARGV[i + 3], '*',
      'v', FORMAT_VERSION, 'j', id, 'n', ARGV[i + 4])
    redis.call('HSET', JOB .. id, 'v', FORMAT_VERSION, 'state', 'queued', 'model', ARGV[i + 1], 'version', ARGV[i + 2],
      'class', ARGV[i + 3], 'rows', ARGV[i + 4], 'single', ARGV[i + 5], 'bytes', #payload, 'entry', entry,
      'created_us', text(now_us), 'deadline_us', text((now_ms + ARGV[i + 6]) * 1000), 'ttl_ms', ttl_ms,
      #payload <= INPUT_ECHO_MAX_BYTES and 'input' or 'input_large', payload)
    deadlines[#deadlines + 1] = text(now_ms + ARGV[i + 6])
    deadlines[#deadlines + 1] = id
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
