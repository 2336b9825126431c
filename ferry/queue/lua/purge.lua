-- Cancel what waits for a model; what runs goes on.
-- ARGV  name:version, most jobs a call
-- Reply number of jobs canceled, a bulk batch as one
local model, most = ARGV[1], tonumber(ARGV[2])
local now_us = now()
despite_full_memory()

local batches = 0
local function cancel(id)
  if not is_step(id) then return cut_short(id, 'canceled', 'purged by the operator', now_us) end
  if wind_up_batch(string.match(id, '^(.-)/'), 'cancelled', now_us) then batches = batches + 1 end
end

-- Returns what is left of the call's jobs. Whatever stands there and is no job any more goes too.
local function purge_stream(stream, room)
  if room == 0 then return 0 end
  local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', room)
  for _, entry in ipairs(entries) do
    cancel(entry[2][4])
    -- A batch takes its own steps out; the one that assembles it stays.
    if not is_step(entry[2][4]) then redis.call('XDEL', stream, entry[1]) end
  end
  if #entries > 0 and redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) end
  return room - #entries
end

for _, id in ipairs(redis.call('LRANGE', STEPS_ALONE .. model, 0, -1)) do cancel(id) end
local waiting_alone = redis.call('LRANGE', ALONE .. model, 0, most - 1)
for _, id in ipairs(waiting_alone) do cancel(id) end
local room = most - #waiting_alone
for _, class in ipairs({'high', 'normal', 'bulk'}) do
  room = purge_stream(WAITING .. model .. ':' .. class, room)
end
wind_up()
return #ended + batches
