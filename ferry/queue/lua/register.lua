-- Make a model known. Whoever serves it has the last word; the API only fills a gap, so that jobs may wait for the
-- first worker. What was tuned live stays.
-- ARGV  name:version, manifest, max_rows, max_wait_ms, profile or '', ticket, 1 to replace what is known
-- Reply 1 when it was written
if ARGV[7] ~= '1' and redis.call('HEXISTS', MODEL .. ARGV[1], 'ticket') == 1 then return 0 end
despite_full_memory()
redis.call('SADD', MODELS, ARGV[1])
redis.call('HSET', MODEL .. ARGV[1], 'manifest', ARGV[2], 'max_rows', ARGV[3],
  'max_wait_ms', ARGV[4], 'profile', ARGV[5], 'ticket', ARGV[6])
return 1
