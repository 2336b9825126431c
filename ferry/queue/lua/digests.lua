-- A model version is its content. Jobs go to workers that serve the registered digest; when it gives way to another.

-- Another digest takes over when no worker has served the registered one for a lease, and all live workers agree on it.
local function may_take_over(model, digest, lease_ms, now_ms)
  local served_ms = tonumber(redis.call('HGET', MODEL .. model, 'served_ms') or 0)
  if served_ms > now_ms - lease_ms then return false end
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', OTHER .. model, text(now_ms - LIVE_MS), '+inf')) do
    if string.match(each, ' (%S*)$') ~= digest then return false end
  end
  return true
end

