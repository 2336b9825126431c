-- A worker stops serving models: it no longer counts towards their tickets.
-- ARGV  worker, then models (name:version)
for i = 2, #ARGV do redis.call('ZREM', LIVE .. ARGV[i], ARGV[1]) end
return #ARGV - 1
