-- What the scripts share that know of bulk batches: how one goes on from step to step, and how it ends.
-- A batch with `ending` set is on its way to that status: what waits of it is dropped, what runs is finished, and then
-- its output is assembled from what there is.

-- Let a step wait for a worker. `weight` counts as its rows: a batch's worth, which is one ticket.
local function enqueue_step(batch, step, model, weight, now_us)
  local id = batch .. '/' .. step
  local entry = redis.call('XADD', WAITING .. model .. ':bulk', '*',
    'v', STEP_FORMAT_VERSION, 'j', id, 'n', weight, 'b', 0, 'd', 0, 's', 1)
  redis.call('HSET', JOB .. id, 'v', STEP_FORMAT_VERSION, 'state', 'queued', 'model', model, 'class', 'bulk',
    'rows', weight, 'bytes', 0, 'entry', entry, 'created_us', text(now_us))
  redis.call('HSET', BATCH_OPEN .. batch, step, '-')
  change_backlog(model, weight, 0)
end

local function weight_of(model)
  local rows = redis.call('HMGET', MODEL .. model, 'tuned_max_rows', 'max_rows')
  return rows[1] or rows[2] or '1'
end

-- Enqueue chunks until as many are open as there should be; unless the batch is to end.
local function fill_window(batch, now_us, now_ms)
  local known = redis.call('HMGET', BATCH .. batch, 'status', 'model', 'chunks', 'next', 'ending')
  if known[1] ~= 'in_progress' or known[5] then return end
  local model, chunks, next_one = known[2], tonumber(known[3]), tonumber(known[4])
  local live = redis.call('ZCOUNT', LIVE .. model, now_ms - LIVE_MS, '+inf')
  local room = math.max(BULK_WINDOW, 2 * live) - redis.call('HLEN', BATCH_OPEN .. batch)
  local last = math.min(chunks, next_one + room) - 1
  if last < next_one then return end
  local weight = weight_of(model)
  for number = next_one, last do enqueue_step(batch, number, model, weight, now_us) end
  redis.call('HSET', BATCH .. batch, 'next', last + 1)
end

-- The batch is over: its record and its parts' names stay for their time, its folder in the storage is to be deleted.
local function end_batch(batch, status, now_us)
  redis.call('HSET', BATCH .. batch, 'status', status, status .. '_us', text(now_us))
  redis.call('HINCRBY', TALLY, 'batches ' .. status, 1)
  local known = redis.call('HMGET', BATCH .. batch, 'limited_by', 'owner', 'ttl_ms')
  if known[1] then redis.call('ZREM', UNFINISHED .. known[1], batch) end
  redis.call('ZREM', BATCH_ENDS, batch)
  redis.call('DEL', BATCH_PARTS .. batch, BATCH_OPEN .. batch)
  redis.call('PEXPIRE', BATCH .. batch, known[3])
  redis.call('ZADD', BATCHES_GONE, text(math.floor(now_us / 1000) + known[3]), (known[2] or '') .. '/' .. batch)
  -- A worker that lost its claim may still write a part, into a folder that its successor has deleted by then.
  local _, now_ms = now()
  redis.call('ZADD', FILE_ENDS, text(now_ms + LATE_PARTS_MS), batch)
end

-- Go on when no step is open: to the assembly, or where no row was ever counted straight to the end.
local function go_on(batch, now_us)
  if redis.call('EXISTS', BATCH_OPEN .. batch) == 1 then return end
  local known = redis.call('HMGET', BATCH .. batch, 'status', 'model', 'ending', 'chunks', 'done')
  local ending = known[3]
  if not ending and known[5] == known[4] then ending = 'completed' end
  if not ending then return end
  redis.call('HSET', BATCH .. batch, 'ending', ending)
  if not known[4] then return end_batch(batch, ending, now_us) end
  if known[1] ~= 'cancelling' then
    redis.call('HSET', BATCH .. batch, 'status', 'finalizing', 'finalizing_us', text(now_us))
  end
  enqueue_step(batch, 'assemble', known[2], 1, now_us)
end

-- Take a step that waits out of where it waits, and forget it.
local function drop_step(batch, step)
  local id = batch .. '/' .. step
  local job = redis.call('HMGET', JOB .. id, 'state', 'model', 'entry', 'rows')
  if job[1] ~= 'queued' then return end
  if job[3] == '' then
    redis.call('LREM', STEPS_ALONE .. job[2], 1, id)
    change_backlog(job[2], -job[4], 0)
  else
    unqueue(id, job[2], 'bulk', job[3], job[4], 0)
  end
  redis.call('DEL', JOB .. id)
  redis.call('HDEL', BATCH_OPEN .. batch, step)
end

-- Let a batch come to another end than by all its rows. Returns whether it was still open.
local function wind_up_batch(batch, ending, now_us)
  local known = redis.call('HMGET', BATCH .. batch, 'status', 'ending')
  if known[2] or (known[1] ~= 'validating' and known[1] ~= 'in_progress') then return false end
  redis.call('HSET', BATCH .. batch, 'ending', ending)
  if ending == 'cancelled' then
    redis.call('HSET', BATCH .. batch, 'status', 'cancelling', 'cancelling_us', text(now_us))
  end
  for _, step in ipairs(redis.call('HKEYS', BATCH_OPEN .. batch)) do drop_step(batch, step) end
  go_on(batch, now_us)
  return true
end

-- Take the ids of batches whose records have expired off the lists: their owners may never look at those.
local function forget_batches(now_ms)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', BATCHES_GONE, '-inf', text(now_ms), 'LIMIT', 0, FORGOTTEN_AT_ONCE)) do
    local owner, batch = string.match(gone, '^(.*)/(.+)$')
    if redis.call('EXISTS', BATCH .. batch) == 0 then
      redis.call('ZREM', BATCHES, batch)
      if owner ~= '' then redis.call('ZREM', BATCHES_BY .. owner, batch) end
      redis.call('ZREM', BATCHES_GONE, gone)
    end
  end
end

local function errors_of(code, message)
  return cjson.encode({{code = code, message = message}})
end

-- The batch cannot go on, and says why; what is done of it is kept where it can be. One that ends already ends as it was to.
local function break_batch(batch, code, message, now_us)
  if redis.call('HEXISTS', BATCH .. batch, 'errors') == 0 then
    redis.call('HSET', BATCH .. batch, 'errors', errors_of(code, message))
  end
  if not wind_up_batch(batch, 'failed', now_us) then go_on(batch, now_us) end
end

-- Let a step that was claimed wait again; what a batch does not need any more is forgotten instead.
local function put_back_step(id, is_free, now_us)
  local batch, step = string.match(id, '^(.-)/(.+)$')
  if step ~= 'assemble' and redis.call('HEXISTS', BATCH .. batch, 'ending') == 1 then
    redis.call('DEL', JOB .. id)
    redis.call('HDEL', BATCH_OPEN .. batch, step)
    return go_on(batch, now_us)
  end
  local job = redis.call('HMGET', JOB .. id, 'model', 'rows')
  if is_free then redis.call('HINCRBY', JOB .. id, 'attempts', -1) end
  redis.call('HSET', JOB .. id, 'state', 'queued', 'token', '')
  redis.call('RPUSH', STEPS_ALONE .. job[1], id)
  change_backlog(job[1], job[2], 0)
end

-- A step is no longer open: its record goes, and its claim with it.
local function close_step(id, batch, step, token)
  redis.call('DEL', JOB .. id, CLAIM .. token)
  redis.call('ZREM', LEASES, token)
  redis.call('HDEL', BATCH_OPEN .. batch, step)
end

-- Write down what became of a chunk, and how fast the batch goes.
local function record_chunk(batch, number, part, completed, failed, now_us)
  redis.call('HSET', BATCH_PARTS .. batch, number, part)
  redis.call('HINCRBY', BATCH .. batch, 'done', 1)
  redis.call('HINCRBY', BATCH .. batch, 'completed', completed)
  redis.call('HINCRBY', BATCH .. batch, 'failed', failed)
  local known = redis.call('HMGET', BATCH .. batch, 'rate_us', 'rate', 'pending')
  local since_s, rows = (now_us - known[1]) / 1000000, (known[3] or 0) + completed + failed
  if since_s < 0 then  -- Redis' clock went back
    redis.call('HSET', BATCH .. batch, 'rate_us', text(now_us), 'pending', rows)
    return
  end
  if since_s < 0.2 then  -- chunks of many workers are settled together
    redis.call('HSET', BATCH .. batch, 'pending', rows)
    return
  end
  local rate, weight = rows / since_s, 1 - math.exp(-since_s / RATE_OVER_S)
  if known[2] then rate = known[2] + (rate - known[2]) * weight end
  redis.call('HSET', BATCH .. batch, 'rate', string.format('%.3f', rate), 'rate_us', text(now_us), 'pending', 0)
end

-- The claim of a step lapsed. It is given up after `max_attempts` claims; a chunk after three times as many, for each of
-- its rows that kills takes two workers with it until it is left out. Nothing is charged where the worker was not at it.
local function lapse_step(id, attempts, max_attempts, is_free, now_us, now_ms)
  local batch, step = string.match(id, '^(.-)/(.+)$')
  local place = redis.call('HGET', BATCH_OPEN .. batch, step)
  is_free = is_free or not place or string.sub(place, 1, 1) == '-'
  local most = tonumber(step) and 3 * max_attempts or max_attempts
  if is_free or attempts < most then return put_back_step(id, is_free, now_us) end
  local message = 'the worker died ' .. attempts .. ' times while it worked at this'
  redis.call('DEL', JOB .. id)
  redis.call('HDEL', BATCH_OPEN .. batch, step)
  if step == 'assemble' then
    redis.call('HSET', BATCH .. batch, 'errors', errors_of('worker_lost', message .. ': the output could not be made'))
    end_batch(batch, 'failed', now_us)
  elseif step == 'index' then
    break_batch(batch, 'worker_lost', message .. ': the file could not be checked', now_us)
  else
    record_chunk(batch, step, '', 0, 0, now_us)
    fill_window(batch, now_us, now_ms)
    go_on(batch, now_us)
  end
end
