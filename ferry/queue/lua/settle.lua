-- Record how claimed jobs ended; only those that this token still holds.
-- ARGV  token, name:version, seed, 1 when the claim is over, then groups of jobs that share all of
--       number of jobs, batch, attempts, started_us, error code, error; then per job: id, output
-- Reply number of jobs recorded
local token, model, seed, is_last = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local now_us, now_ms = now()
despite_full_memory()
local completed_us = text(now_us)
local outcomes, rows_done, told_of = {}, 0, 0
local batches, seen = 0, {}

local function settle(first, last, batch, attempts, started_us, code, message)
  local state = code == '' and 'succeeded' or 'failed'
  local shared = {'state', state, 'completed_us', completed_us, 'batch', batch, 'attempts', attempts,
    'started_us', started_us}
  if code ~= '' then for _, part in ipairs({'error_code', code, 'error', message}) do shared[#shared + 1] = part end end
  local told, outputs, large = {}, {}, {}
  told_of = told_of + (last - first + 1) / 2
  if not seen[batch] then batches, seen[batch] = batches + 1, true end
  for i = first, last, 2 do
    local id, output = ARGV[i], ARGV[i + 1]
    local job = redis.call('HMGET', JOB .. id, 'token', 'ttl_ms', 'rows', 'limited_by')
    if job[1] == token then  -- the token goes when a job ends, so it is running
      local fields = {'state', state, 'completed_us', completed_us, 'batch', batch}
      if code == '' then
        fields[7], fields[8] = 'output', output
      else
        fields[7], fields[8], fields[9], fields[10] = 'error_code', code, 'error', message
      end
      finish(id, job[2], fields, job[4])
      if #output <= PUBLISH_MAX_BYTES then
        told[#told + 1], outputs[#outputs + 1] = id, output
      else
        large[#large + 1] = id
      end
      outcomes[state] = (outcomes[state] or 0) + 1
      rows_done = rows_done + job[3]
    elseif not job[2] then
      told_of = told_of - 1  -- it was deleted, and with it its place in the claim
    end
  end
  if #told > 0 then news[#news + 1] = {shared, told, code == '' and outputs or {}} end
  if #large > 0 then news[#news + 1] = {{}, large, {}} end
end

local i = 5
while i <= #ARGV do
  local last = i + 5 + 2 * ARGV[i]
  settle(i + 6, last, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
  i = last + 1
end
-- A claim can hold jobs that its holder never heard of: it was added to and the reply was lost. They have not run, so
-- no attempt is charged; without this nobody would ever come back to them.
local function put_back_the_unheard()
  for _, id in ipairs(redis.call('SMEMBERS', CLAIM .. token)) do
    local job = redis.call('HMGET', JOB .. id, 'token', 'rows', 'bytes')
    if job[1] == token then
      put_back(id, model, job[2], job[3], true)
    end
  end
end

if is_last then
  if redis.call('SCARD', CLAIM .. token) > told_of then put_back_the_unheard() end
  redis.call('ZREM', LEASES, token)
  redis.call('DEL', CLAIM .. token)
end
wind_up()
for state, jobs in pairs(outcomes) do redis.call('HINCRBY', COUNTS .. model, state, jobs) end
if rows_done > 0 then
  redis.call('HINCRBY', COUNTS .. model, 'rows', text(rows_done))
  redis.call('HINCRBY', COUNTS .. model, 'batches', batches)
end
top_up(model, seed, now_ms)
return #ended
