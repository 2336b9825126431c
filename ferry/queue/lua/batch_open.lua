-- Take a bulk batch: its record, and the step that checks its file.
-- ARGV  id, seed, fingerprint or '', window in ms, most batches under way, how long its record is kept in ms, name:version,
--       input file id, purpose it must have, owner or '', limits of its API key or '' (limits.lua),
--       whose the input file must be or '' (another's is answered as one that is not there), then fields of its hash: name, value, ...
-- Reply verdict: accepted, exists, differs, no_file, wrong_purpose, unregistered, draining, full, over_rate,
--       over_unfinished
local id, seed, fingerprint, window_ms, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local ttl_ms, model, file, purpose, owner, limits = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local files_by = ARGV[12]
local now_us, now_ms, steady_us, sure_us = now()
if redis.call('EXISTS', BATCH .. id) == 1 then
  return redis.call('HGET', BATCH .. id, 'fingerprint') == fingerprint and 'exists' or 'differs'
end
local config = redis.call('HMGET', MODEL .. model, 'ticket', 'draining')
if not config[1] then return 'unregistered' end
if config[2] then return 'draining' end
local stored = redis.call('HMGET', FILE .. file, 'purpose', 'filename', 'bytes', 'owner')
if not stored[2] or (files_by ~= '' and stored[4] ~= files_by) then return 'no_file' end
if stored[1] ~= purpose then return 'wrong_purpose' end
if redis.call('ZCARD', BATCH_ENDS) >= most then return 'full' end
local over_what = over(limits, id, window_ms, steady_us, now_ms)
if over_what then return over_what end
redis.call('HSET', BATCH .. id, 'status', 'validating', 'model', model, 'input_file_id', file, 'filename', stored[2],
  'size_bytes', stored[3], 'fingerprint', fingerprint, 'created_us', text(now_us),
  'expires_us', text(now_us + window_ms * 1000), 'ttl_ms', ttl_ms, 'completed', 0, 'failed', 0, unpack(ARGV, 13))
redis.call('ZADD', BATCHES, text(now_us), id)
if owner ~= '' then
  redis.call('HSET', BATCH .. id, 'owner', owner)
  redis.call('ZADD', BATCHES_BY .. owner, text(now_us), id)
end
if limits ~= '' and limits_of(limits, steady_us).most > 0 then
  redis.call('HSET', BATCH .. id, 'limited_by', limits_of(limits, steady_us).id)
end
charge_limits(steady_us)
redis.call('ZADD', BATCH_ENDS, text(now_ms + window_ms), id)
note_unsure({id}, steady_us, sure_us)
enqueue_step(id, 'index', model, 1, now_us)
top_up(model, seed, now_ms)
return 'accepted'
