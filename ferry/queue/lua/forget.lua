-- Remove a model from what is known, unless jobs wait for it or a worker serves it.
-- ARGV  name:version
-- Reply 1 when removed, 0 when it is in use
local model = ARGV[1]
local _, now_ms = now()
if redis.call('EXISTS', BACKLOG .. model) == 1 then return 0 end
if redis.call('ZCOUNT', LIVE .. model, now_ms - LIVE_MS, '+inf') > 0 then return 0 end
redis.call('SREM', MODELS, model)
redis.call('DEL', MODEL .. model, LIVE .. model, COUNTS .. model, TICKETS .. model)
return 1
