-- A worker says which models it cannot serve, and why; it repeats that with each heartbeat while it has any.
-- ARGV  worker, then per model: name:version, reason
local worker = ARGV[1]
local _, now_ms = now()
despite_full_memory()
local reported = {}
for i = 2, #ARGV, 2 do
  local field = worker .. ' ' .. ARGV[i]
  reported[field] = true
  redis.call('HSET', BROKEN, field, text(now_ms) .. ' ' .. ARGV[i + 1])
end
local all = redis.call('HGETALL', BROKEN)
for i = 1, #all, 2 do
  local is_own = string.sub(all[i], 1, #worker + 1) == worker .. ' '
  local at_ms = tonumber(string.match(all[i + 1], '^%d+') or 0)
  if (is_own and not reported[all[i]]) or at_ms < now_ms - BROKEN_KEPT_MS then redis.call('HDEL', BROKEN, all[i]) end
end
-- After the last worker with a broken model is gone, nobody else would delete it.
if redis.call('EXISTS', BROKEN) == 1 then redis.call('PEXPIRE', BROKEN, 2 * BROKEN_KEPT_MS) end
return #all / 2
