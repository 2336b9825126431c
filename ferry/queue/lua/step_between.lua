-- Asked by a worker within a step, every few milliseconds: whether it still holds it, and who waits meanwhile.
-- ARGV  token, step's id, where it stands from now on (kept in BATCH_OPEN) or '' to leave that, then models served
--       (name:version)
-- Reply 1 while the step is held, else 0; the batch's ending or nil; then the models for which jobs of a higher class wait
local token, id = ARGV[1], ARGV[2]
local batch, step = string.match(id, '^(.-)/(.+)$')
if redis.call('HGET', JOB .. id, 'token') ~= token then return {0, false} end
despite_full_memory()
local reply = {1, redis.call('HGET', BATCH .. batch, 'ending')}
for i = 4, #ARGV do
  local model = ARGV[i]
  if redis.call('EXISTS', ALONE .. model, WAITING .. model .. ':high', WAITING .. model .. ':normal') > 0
    and redis.call('HEXISTS', MODEL .. model, 'paused') == 0 then
    reply[#reply + 1] = model
  end
end
if ARGV[3] ~= '' then redis.call('HSET', BATCH_OPEN .. batch, step, ARGV[3]) end
return reply
