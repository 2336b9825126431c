-- Keeper, many times a second: end jobs whose deadline has passed, waiting or running.
-- ARGV  holder, most jobs a call
-- Reply -1 when another keeps house, else the number of jobs ended
if not leads(ARGV[1]) then return -1 end
local now_us, now_ms = now()
local settled = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', text(now_ms), 'LIMIT', 0, ARGV[2])) do
  local news = cut_short(id, 'deadline_exceeded', 'the deadline passed before the job was done', now_us)
  if news then settled[#settled + 1] = news else redis.call('ZREM', DEADLINES, id) end
end
publish(settled)
return #settled
