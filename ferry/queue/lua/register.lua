-- Make a model known, or what is known of it new. A worker that serves it has the last word; the API only fills a gap,
-- so that jobs may wait for the first worker. Another digest than the registered one must take over (digests.lua). What
-- was tuned live stays; that the model was switched to whole jobs stays with its digest.
-- ARGV  name:version, manifest, max_rows, max_wait_ms, profile or '', ticket, digest, lease in ms,
--       1 from a worker, or 0 from the API
-- Reply 1 when it was written
local model, digest, is_worker = ARGV[1], ARGV[7], ARGV[9] == '1'
local _, now_ms = now()
local known = redis.call('HMGET', MODEL .. model, 'ticket', 'digest')
if known[1] then
  if not is_worker then return 0 end
  if known[2] ~= digest and not may_take_over(model, digest, tonumber(ARGV[8]), now_ms) then return 0 end
end
despite_full_memory()
redis.call('SADD', MODELS, model)
if known[2] ~= digest then redis.call('HDEL', MODEL .. model, 'switched', 'served_ms') end
redis.call('HSET', MODEL .. model, 'manifest', ARGV[2], 'max_rows', ARGV[3],
  'max_wait_ms', ARGV[4], 'profile', ARGV[5], 'ticket', ARGV[6], 'digest', digest)
if is_worker then redis.call('HSET', MODEL .. model, 'served_ms', now_ms) end
return 1
