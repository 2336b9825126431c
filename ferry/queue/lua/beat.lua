-- A worker's heartbeat: say that it lives and what it serves.
-- ARGV  worker, seed, then models (name:version)
-- Reply per model: 0 when Redis does not know it (it was wiped; register it again) or 1, then what was set live:
--       tuned_max_rows, tuned_max_wait_ms, each nil where nothing was; last of all the models that are unloaded
local worker, seed = ARGV[1], ARGV[2]
local _, now_ms = now()
despite_full_memory()
local reply = {}
for i = 3, #ARGV do
  local model = ARGV[i]
  local config = redis.call('HMGET', MODEL .. model, 'ticket', 'tuned_max_rows', 'tuned_max_wait_ms')
  reply[#reply + 1] = {config[1] and 1 or 0, config[2], config[3]}
  local is_new = redis.call('ZADD', LIVE .. model, now_ms, worker) == 1
  redis.call('ZREMRANGEBYSCORE', LIVE .. model, '-inf', '(' .. text(now_ms - 10 * LIVE_MS))
  if is_new then top_up(model, seed, now_ms) end
end
reply[#reply + 1] = redis.call('SMEMBERS', UNLOADED)
return reply
