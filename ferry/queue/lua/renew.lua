-- Push the ends of leases out; a claim that lapsed stays lapsed.
-- ARGV  lease in ms, then tokens
-- Reply the tokens that are still held
local _, now_ms = now()
despite_full_memory()
local held = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', LEASES, ARGV[i]) then
    redis.call('ZADD', LEASES, now_ms + ARGV[1], ARGV[i])
    redis.call('SREM', SPARED, ARGV[i])
    held[#held + 1] = ARGV[i]
  end
end
return held
