-- Cancel a batch: what waits of it is dropped, what runs is finished, what is done is kept.
-- ARGV  id, seed
-- Reply 1 when it was canceled now, 0 when it was on its way to its end already, -1 when there is no such batch
local now_us, now_ms = now()
despite_full_memory()
local model = redis.call('HGET', BATCH .. ARGV[1], 'model')
if not model then return -1 end
local was_open = wind_up_batch(ARGV[1], 'cancelled', now_us)
top_up(model, ARGV[2], now_ms)
return was_open and 1 or 0
