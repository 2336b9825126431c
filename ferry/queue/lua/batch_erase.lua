-- Forget a bulk batch, whatever its state. What runs of it is lost: its holder's token is gone.
-- ARGV  id, owner or '' (the record may have expired before the lists that name it)
-- Reply 1 when there was such a batch, else 0
local batch, owner = ARGV[1], ARGV[2]
local _, now_ms = now()
despite_full_memory()
for _, step in ipairs(redis.call('HKEYS', BATCH_OPEN .. batch)) do
  drop_step(batch, step)
  redis.call('DEL', JOB .. batch .. '/' .. step)
end
local limited_by = redis.call('HGET', BATCH .. batch, 'limited_by')
if limited_by then redis.call('ZREM', UNFINISHED .. limited_by, batch) end
redis.call('ZREM', BATCHES, batch)
redis.call('ZREM', BATCHES_BY .. owner, batch)
redis.call('ZREM', BATCHES_GONE, owner .. '/' .. batch)
redis.call('ZREM', BATCH_ENDS, batch)
-- A worker amid a step may still write a part: the folder is deleted once more after that.
redis.call('ZADD', FILE_ENDS, text(now_ms + LATE_PARTS_MS), batch)
redis.call('DEL', BATCH_PARTS .. batch, BATCH_OPEN .. batch)
return redis.call('DEL', BATCH .. batch)
