-- Keeper, many times a second: end jobs whose deadline has passed, waiting or running.
-- ARGV  holder, most jobs a call
-- Reply -1 when another keeps house, else the number of jobs ended
despite_full_memory()
if not leads(ARGV[1]) then return -1 end
local now_us, now_ms = now()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now_ms), 'LIMIT', 0, ARGV[2])) do
  if not cut_short(id, 'deadline_exceeded', 'the deadline passed before the job was done', now_us) then
    redis.call('ZREM', DEADLINES, id)
  end
end
wind_up()
return #ended
