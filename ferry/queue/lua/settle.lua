-- Record how claimed jobs ended; only those that this token still holds.
-- ARGV  token, model, seed, 1 when the claim is over,
--       then per job: id, batch id, batch rows, batch jobs, run in us, output, error code, error
-- Reply number of jobs recorded
local token, model, seed, is_last = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local now_us, now_ms = now()
local settled, outcomes, rows_done = {}, {}, 0

for i = 5, #ARGV, 8 do
  local id, output, code = ARGV[i], ARGV[i + 5], ARGV[i + 6]
  local job = redis.call('HMGET', JOB .. id, 'token', 'state', 'ttl_ms', 'started_us', 'attempts', 'rows')
  if job[1] == token and job[2] == 'running' then
    local state = code == '' and 'succeeded' or 'failed'
    local fields = {'state', state, 'completed_us', text(now_us), 'run_us', ARGV[i + 4], 'batch_id', ARGV[i + 1],
      'batch_rows', ARGV[i + 2], 'batch_jobs', ARGV[i + 3]}
    local result = code == '' and {'output', output} or {'error_code', code, 'error', ARGV[i + 7]}
    for _, part in ipairs(result) do fields[#fields + 1] = part end
    local news = finish(id, fields, job[3])
    if #output > PUBLISH_MAX_BYTES then
      news[2] = {}
    else
      for _, part in ipairs({'started_us', job[4], 'attempts', job[5]}) do fields[#fields + 1] = part end
    end
    settled[#settled + 1] = news
    outcomes[state] = (outcomes[state] or 0) + 1
    rows_done = rows_done + job[6]
  end
end
if is_last then
  redis.call('ZREM', LEASES, token)
  redis.call('DEL', CLAIM .. token)
end
publish(settled)
for state, jobs in pairs(outcomes) do redis.call('HINCRBY', COUNTS .. model, state, jobs) end
if rows_done > 0 then redis.call('HINCRBY', COUNTS .. model, 'rows', text(rows_done)) end
top_up(model, seed, now_ms)
return #settled
