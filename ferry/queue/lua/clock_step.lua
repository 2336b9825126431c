-- The leader, after its own monotonic clock showed a step of Redis' clock: take the step out of the steady time.
-- ARGV  holder, step in microseconds (below 0: back), lease in ms, seed
-- Reply -1 when another leads, else 1
if not leads(ARGV[1]) then return -1 end
despite_full_memory()
local offset, seen = known_steps()
redis.call('SET', CLOCK, text(offset + ARGV[2]) .. ' ' .. text(seen))
local _, now_ms = now()

-- Nothing that lies between the step and now may hold a time that is far ahead.
local function not_after(key, latest_ms)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(latest_ms), '+inf')) do
    redis.call('ZADD', key, text(latest_ms), member)
  end
end

not_after(LEASES, now_ms + ARGV[3])
for _, model in ipairs(redis.call('SMEMBERS', MODELS)) do
  not_after(LIVE .. model, now_ms)
  not_after(OTHER .. model, now_ms)
  local served_ms = tonumber(redis.call('HGET', MODEL .. model, 'served_ms') or 0)
  if served_ms > now_ms then redis.call('HSET', MODEL .. model, 'served_ms', text(now_ms)) end
  top_up(model, ARGV[4], now_ms)  -- claims skipped jobs that seemed late, and sent no ticket
end
-- Its time to live is on Redis' clock: after a step back it would stay for as long.
redis.call('DEL', MEMORY)
return 1
