-- Record what became of a step, if this token still holds it, and let the batch go on.
-- ARGV  token, name:version, step's id, seed, what became of it, then by that
--       indexed: rows, chunks, bytes of one index record, format, output format, notes (a JSON array), prepared (1 or 0)
--       refused: errors (a JSON array), rows
--       chunk: number, part, rows completed, rows failed
--       assembled: rows completed, rows failed, then of the output and of the error file: id or '', bytes, name, sha256,
--         how long it is kept in ms
--       broken: code, message
--       stopped (the batch was ended meanwhile)
--       released (to be done by somebody else)
-- Reply 1 when it was recorded
local token, model, id, seed, outcome = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now_us, now_ms = now()
despite_full_memory()
if redis.call('HGET', JOB .. id, 'token') ~= token then return 0 end
local batch, step = string.match(id, '^(.-)/(.+)$')
local batch_key = BATCH .. batch

local function make_file(first, field)
  local file = ARGV[first]
  if file == '' then return end
  local owner = redis.call('HGET', batch_key, 'owner') or ''
  redis.call('HSET', FILE .. file, 'bytes', ARGV[first + 1], 'created_at', text(math.floor(now_us / 1000000)),
    'expires_at', text(math.floor((now_us / 1000 + ARGV[first + 4]) / 1000)), 'filename', ARGV[first + 2], 'purpose', 'batch_output',
    'status', 'processed', 'sha256', ARGV[first + 3], 'owner', owner)
  redis.call('ZADD', FILES, text(now_us), file)
  redis.call('ZADD', FILES_OF .. 'batch_output', text(now_us), file)
  if owner ~= '' then
    redis.call('ZADD', FILES_BY .. owner, text(now_us), file)
    redis.call('ZADD', FILES_BY .. owner .. ':batch_output', text(now_us), file)
  end
  redis.call('ZADD', FILE_ENDS, text(now_ms + ARGV[first + 4]), file)
  redis.call('HSET', batch_key, field, file)
end

local record = {}

function record.indexed()
  redis.call('HSET', batch_key, 'total', ARGV[6], 'chunks', ARGV[7], 'done', 0, 'next', 0, 'width', ARGV[8],
    'format', ARGV[9], 'output_format', ARGV[10], 'notes', ARGV[11], 'is_prepared', ARGV[12])
  if redis.call('HEXISTS', batch_key, 'ending') == 0 then
    redis.call('HSET', batch_key, 'status', 'in_progress', 'in_progress_us', text(now_us), 'rate_us', text(now_us))
  end
end

function record.refused()
  redis.call('HSET', batch_key, 'errors', ARGV[6], 'total', ARGV[7])
  if redis.call('HEXISTS', batch_key, 'ending') == 0 then redis.call('HSET', batch_key, 'ending', 'failed') end
end

function record.chunk()
  record_chunk(batch, ARGV[6], ARGV[7], ARGV[8], ARGV[9], now_us)
  redis.call('HINCRBY', COUNTS .. model, 'rows', ARGV[8] + ARGV[9])
  redis.call('HINCRBY', COUNTS .. model, 'bulk_succeeded', ARGV[8])
  redis.call('HINCRBY', COUNTS .. model, 'bulk_failed', ARGV[9])
end

function record.assembled()
  redis.call('HSET', batch_key, 'completed', ARGV[6], 'failed', ARGV[7])
  make_file(8, 'output_file_id')
  make_file(13, 'error_file_id')
  end_batch(batch, redis.call('HGET', batch_key, 'ending'), now_us)
end

function record.broken()
  if step ~= 'assemble' then return break_batch(batch, ARGV[6], ARGV[7], now_us) end
  redis.call('HSET', batch_key, 'errors', errors_of(ARGV[6], ARGV[7]))
  end_batch(batch, 'failed', now_us)
end

function record.stopped() end

if outcome == 'released' then
  redis.call('DEL', CLAIM .. token)
  redis.call('ZREM', LEASES, token)
  put_back_step(id, true, now_us)
else
  close_step(id, batch, step, token)
  record[outcome]()
  local status = redis.call('HGET', batch_key, 'status')
  if status == 'in_progress' then fill_window(batch, now_us, now_ms) end
  if status == 'in_progress' or status == 'validating' or status == 'cancelling' then
    go_on(batch, now_us)
  end
end
top_up(model, seed, now_ms)
return 1
