-- Set a model's batch limits live, or take back what was set; a missing number leaves what was set before.
-- ARGV  name:version, seed, max_rows or '', max_wait_ms or '', 1 to take back what was set before
-- Reply nil when the model is not known, else manifest, profile, tuned_max_rows, tuned_max_wait_ms
local model, seed = ARGV[1], ARGV[2]
local _, now_ms = now()
if redis.call('HEXISTS', MODEL .. model, 'ticket') == 0 then return false end
if ARGV[5] == '1' then redis.call('HDEL', MODEL .. model, 'tuned_max_rows', 'tuned_max_wait_ms') end
if ARGV[3] ~= '' then redis.call('HSET', MODEL .. model, 'tuned_max_rows', ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', MODEL .. model, 'tuned_max_wait_ms', ARGV[4]) end
top_up(model, seed, now_ms)
return redis.call('HMGET', MODEL .. model, 'manifest', 'profile', 'tuned_max_rows', 'tuned_max_wait_ms')
