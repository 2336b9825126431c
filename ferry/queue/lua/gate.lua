-- Pause a model's queue, drain it, or open it again.
-- ARGV  name:version, seed, 'open', or the gates to shut: 'paused', 'draining'
-- Reply 1, 0 when the model is not known
local model, seed = ARGV[1], ARGV[2]
local _, now_ms = now()
if redis.call('HEXISTS', MODEL .. model, 'ticket') == 0 then return 0 end
if ARGV[3] == 'open' then
  redis.call('HDEL', MODEL .. model, 'paused', 'draining')
else
  redis.call('HSET', MODEL .. model, ARGV[3], '1')
end
top_up(model, seed, now_ms)
return 1
