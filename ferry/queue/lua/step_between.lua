-- Asked by a worker within a step, every few milliseconds: whether it still holds it, and who waits meanwhile.
-- ARGV  token, step's id, where it stands (kept in BATCH_OPEN unless somebody waits), then models served (name:version)
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
-- Who is served now may kill the worker too, which is no fault of this step.
redis.call('HSET', BATCH_OPEN .. batch, step, #reply > 2 and string.gsub(ARGV[3], '^%d+ %d+', '-') or ARGV[3])
return reply
