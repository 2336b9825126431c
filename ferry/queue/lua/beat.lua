-- A worker's heartbeat: say that it lives and what it serves.
-- ARGV  worker, seed, lease in ms, then per model: name:version, digest (empty: not checked)
-- Reply per model: 0 when the worker should register it (Redis does not know it, or this digest takes over), 1, or 2 when
--       another digest is registered, so that this worker gets no job; then what was set live: tuned_max_rows,
--       tuned_max_wait_ms, and why the model was switched to whole jobs, each nil where nothing was; last of all the
--       models that are unloaded
local worker, seed, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local _, now_ms = now()
despite_full_memory()
local reply = {}
local function trim(key) redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. text(now_ms - 10 * LIVE_MS)) end

for i = 4, #ARGV, 2 do
  local model, digest = ARGV[i], ARGV[i + 1]
  local config = redis.call('HMGET', MODEL .. model, 'ticket', 'tuned_max_rows', 'tuned_max_wait_ms', 'digest', 'switched')
  local state = config[1] and 1 or 0
  if config[1] and digest ~= '' and config[4] ~= digest then
    redis.call('ZREM', LIVE .. model, worker)
    redis.call('ZADD', OTHER .. model, now_ms, worker .. ' ' .. digest)
    trim(OTHER .. model)
    state = may_take_over(model, digest, lease_ms, now_ms) and 0 or 2
  else
    local is_new = redis.call('ZADD', LIVE .. model, now_ms, worker) == 1
    trim(LIVE .. model)
    redis.call('ZREM', OTHER .. model, worker .. ' ' .. digest)
    if config[1] then redis.call('HSET', MODEL .. model, 'served_ms', now_ms) end
    if is_new then top_up(model, seed, now_ms) end
  end
  reply[#reply + 1] = {state, config[2], config[3], config[5]}
end
reply[#reply + 1] = redis.call('SMEMBERS', UNLOADED)
return reply
