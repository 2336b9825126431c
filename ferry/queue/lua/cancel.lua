-- Cancel a job that is not terminal. A run under way goes on, and its result is dropped.
-- ARGV  id
-- Reply 1 when it was canceled now, 0 when it was terminal already, -1 when there is no such job
local now_us = now()
despite_full_memory()
if redis.call('EXISTS', JOB .. ARGV[1]) == 0 then return -1 end
if not cut_short(ARGV[1], 'canceled', 'canceled by request', now_us) then return 0 end
wind_up()
return 1
