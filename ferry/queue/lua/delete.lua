-- Forget a job on request: one that is not terminal is canceled first, so that whoever waits for it hears of it.
-- ARGV  id
-- Reply 1 when there was such a job, else 0
if redis.call('EXISTS', JOB .. ARGV[1]) == 0 then return 0 end
despite_full_memory()
local token = redis.call('HGET', JOB .. ARGV[1], 'token')
-- Nothing names the job any more, not even the claim of a worker that runs it.
if token and token ~= '' then redis.call('SREM', CLAIM .. token, ARGV[1]) end
cut_short(ARGV[1], 'canceled', 'deleted by request', (now()))
wind_up()
erase(ARGV[1])
return 1
