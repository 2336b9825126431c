-- A worker's heartbeat: say that it lives and what it serves.
-- ARGV  worker, seed, then models (name:version)
-- Reply the models that Redis does not know (it was wiped): register them again
local worker, seed = ARGV[1], ARGV[2]
local _, now_ms = now()
local unknown = {}
for i = 3, #ARGV do
  local model = ARGV[i]
  if redis.call('HEXISTS', MODEL .. model, 'ticket') == 0 then unknown[#unknown + 1] = model end
  local is_new = redis.call('ZADD', LIVE .. model, now_ms, worker) == 1
  redis.call('ZREMRANGEBYSCORE', LIVE .. model, '-inf', '(' .. text(now_ms - 10 * LIVE_MS))
  if is_new then top_up(model, seed, now_ms) end
end
return unknown
