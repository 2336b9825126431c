-- The leader, many times a second: end jobs whose deadline has passed, waiting or running. Claims only skip those.
-- ARGV  holder, most jobs a call, the steady time by the caller's own monotonic clock in us, or '' when it has none yet, seed
-- Reply jobs ended, or -1 when another leads; the steady time in us as Redis' clock has it, steps included; the last
--       steady time that a leader saw, 0 for none
despite_full_memory()
local is_leader = leads(ARGV[1])
local now_us = time_us()
local offset, seen = known_steps()
local raw_us = now_us - offset
if not is_leader then return {-1, text(raw_us), text(seen)} end
-- Ended is only what is over by both clocks, so a step ends nothing.
local steady_us = math.max(seen, math.min(raw_us, tonumber(ARGV[3]) or raw_us))
redis.call('SET', CLOCK, text(offset) .. ' ' .. text(steady_us))
local now_ms, models = math.floor(steady_us / 1000), {}

-- What was accepted ahead of this time gets its own times back. A job's entry keeps a deadline that is too late: claims
-- look at it only to skip the job, and the job ends by DEADLINES.
local ahead = redis.call('ZRANGEBYSCORE', UNSURE, '(' .. text(steady_us), '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #ahead, 2 do
  local id, back_ms = ahead[i], text(math.floor((steady_us - ahead[i + 1]) / 1000))
  local limited_by = redis.call('HGET', JOB .. id, 'limited_by') or redis.call('HGET', BATCH .. id, 'limited_by')
  redis.call('ZADD', DEADLINES, 'XX', 'INCR', back_ms, id)
  redis.call('ZADD', BATCH_ENDS, 'XX', 'INCR', back_ms, id)
  if limited_by then redis.call('ZADD', UNFINISHED .. limited_by, 'XX', 'INCR', back_ms, id) end
  redis.call('ZREM', UNSURE, id)
end
redis.call('ZREMRANGEBYSCORE', UNSURE, '-inf', text(steady_us))

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now_ms), 'LIMIT', 0, ARGV[2])) do
  local model = cut_short(id, 'deadline_exceeded', 'the deadline passed before the job was done', now_us)
  if model then models[model] = true else redis.call('ZREM', DEADLINES, id) end
end
wind_up()
-- Claims that only skipped these jobs sent no ticket. While more of them are left, the next claim would skip as well.
if #ended < tonumber(ARGV[2]) then
  for model in pairs(models) do top_up(model, ARGV[4], now_ms) end
end
return {#ended, text(raw_us), text(seen)}
