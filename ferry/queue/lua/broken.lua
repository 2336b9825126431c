-- A worker says which models it cannot serve, and why; it repeats that every few seconds while it has any.
-- ARGV  worker, number of models that it said before and can serve now, each as name:version, then per model:
--       name:version, reason
local worker = ARGV[1]
local _, now_ms = now()
despite_full_memory()
local first = 3 + ARGV[2]
for i = 3, first - 1 do redis.call('HDEL', BROKEN, worker .. ' ' .. ARGV[i]) end
for i = first, #ARGV, 2 do
  redis.call('HSET', BROKEN, worker .. ' ' .. ARGV[i], text(now_ms) .. ' ' .. ARGV[i + 1])
end
-- The leader deletes old reports; after the last worker with a broken model is gone, this does.
if redis.call('EXISTS', BROKEN) == 1 then redis.call('PEXPIRE', BROKEN, 2 * BROKEN_KEPT_MS) end
