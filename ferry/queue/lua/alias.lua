-- Let an alias of a model stand for another version, or for the one before.
-- ARGV  model's name, alias, version or '' to go back
-- Reply verdict (moved, unknown: Redis knows no such version, nothing: there is no way back), version before or '',
--       version now or ''
local name, alias, version = ARGV[1], ARGV[2], ARGV[3]
local field = name .. ':' .. alias
local now_at, before = string.match(redis.call('HGET', ALIASES, field) or ' ', '^(%d*) (%d*)')
now_at, before = now_at or '', before or ''
if version == '' then
  if now_at == '' then return {'nothing', '', ''} end
  version = before
elseif redis.call('SISMEMBER', MODELS, name .. ':' .. version) == 0 then
  return {'unknown', now_at, version}
end
if version == now_at then return {'moved', now_at, version} end
if version == '' then
  redis.call('HDEL', ALIASES, field)
else
  redis.call('HSET', ALIASES, field, version .. ' ' .. now_at)
end
return {'moved', now_at, version}
