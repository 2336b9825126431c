-- Execute the jobs of a model one by one from now on: a check found that rows influence each other.
-- ARGV  name:version, digest, reason
-- Reply 1 when it was switched now, 0 when it was before, or another digest is registered
local model = ARGV[1]
local known = redis.call('HMGET', MODEL .. model, 'digest', 'switched')
if known[1] ~= ARGV[2] or known[2] then return 0 end
despite_full_memory()
redis.call('HSET', MODEL .. model, 'switched', ARGV[3])
return 1
