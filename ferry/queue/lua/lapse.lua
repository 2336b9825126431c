-- Keeper, every second: give the jobs of dead claims back, each to be claimed alone, end bulk batches whose window closed,
-- and top up every model's tickets.
-- ARGV  holder, seed, max attempts, most claims a call, grace in ms: above 0, no lease ends before that from now,
--       how long a dead letter is kept in ms, 1 when that grace is for an outage that was seen,
--       the steady time by the caller's own monotonic clock in us, or '' when it has none yet
-- Reply -1 when another keeps house, else: claims lapsed, tickets sent
despite_full_memory()
if not leads(ARGV[1]) then return -1 end
local seed, max_attempts, grace_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local now_us, _, steady_us = now()
local now_ms = math.floor(math.min(steady_us, tonumber(ARGV[8]) or steady_us) / 1000)
local dead_ttl_ms = ARGV[6]
local lapsed, sent = 0, 0

if grace_ms > 0 then  -- Redis was away: holders could not renew, which says nothing about their health
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now_ms + grace_ms))) do
    redis.call('ZADD', LEASES, now_ms + grace_ms, token)
    if ARGV[7] == '1' then redis.call('SADD', SPARED, token) end
  end
end

-- `is_free`: nobody renewed since the outage, whose reply may have been lost, so the claim costs its jobs no attempt.
local function give_back(id, token, is_free)
  local job = redis.call('HMGET', JOB .. id, 'token', 'state', 'attempts', 'model', 'rows', 'bytes', 'limited_by')
  if job[1] ~= token or job[2] ~= 'running' then return end
  if is_step(id) then return lapse_step(id, tonumber(job[3]), max_attempts, is_free, now_us, now_ms) end
  local model = job[4]
  if not is_free and tonumber(job[3]) >= max_attempts then
    local message = 'the worker died ' .. job[3] .. ' times while it held this job'
    redis.call('HINCRBY', COUNTS .. model, 'worker_lost', 1)
    local fields = {'state', 'failed', 'error_code', 'worker_lost', 'error', message, 'completed_us', text(now_us)}
    news[#news + 1] = {{unpack(fields)}, {id}, {}}
    finish(id, dead_ttl_ms, fields, job[7])
    redis.call('PEXPIRE', INPUT .. id, dead_ttl_ms)
    redis.call('ZADD', DEAD, text(math.floor(now_us / 1000)), id)
    kept[id] = true
    return
  end
  put_back(id, model, job[5], job[6], is_free)
end

for _, token in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now_ms), 'LIMIT', 0, ARGV[4])) do
  local is_free = redis.call('SREM', SPARED, token) == 1
  for _, id in ipairs(redis.call('SMEMBERS', CLAIM .. token)) do give_back(id, token, is_free) end
  redis.call('DEL', CLAIM .. token)
  redis.call('ZREM', LEASES, token)
  lapsed = lapsed + 1
end
for _, token in ipairs(redis.call('SMEMBERS', SPARED)) do  -- those that were settled
  if not redis.call('ZSCORE', LEASES, token) then redis.call('SREM', SPARED, token) end
end
wind_up()
for _, batch in ipairs(redis.call('ZRANGEBYSCORE', BATCH_ENDS, '-inf', text(now_ms))) do
  redis.call('ZREM', BATCH_ENDS, batch)
  wind_up_batch(batch, 'expired', now_us)
end
for _, batch in ipairs(redis.call('ZRANGE', BATCH_ENDS, 0, -1)) do fill_window(batch, now_us, now_ms) end
forget_batches(now_us / 1000)
-- Of workers that are gone, or from before a step of the clock.
local broken = redis.call('HGETALL', BROKEN)
for i = 1, #broken, 2 do
  local at_ms = tonumber(string.match(broken[i + 1], '^%d+') or 0)
  if math.abs(now_ms - at_ms) > BROKEN_KEPT_MS then redis.call('HDEL', BROKEN, broken[i]) end
end
-- Redis' own clock ends the records. Those that it has not ended yet stay listed, whatever that clock says now.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEAD, '-inf', text(now_us / 1000 - dead_ttl_ms), 'LIMIT', 0,
    FORGOTTEN_AT_ONCE)) do
  if redis.call('EXISTS', JOB .. id) == 0 then redis.call('ZREM', DEAD, id) end
end
for _, model in ipairs(redis.call('SMEMBERS', MODELS)) do sent = sent + top_up(model, seed, now_ms) end
return {lapsed, sent}
