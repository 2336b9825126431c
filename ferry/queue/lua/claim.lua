-- Take waiting jobs of one model under a lease, or add to a claim that is held.
-- ARGV  model, token, max rows, lease in ms, seed, 1 for a fresh claim or 0 to add to one
-- Reply per job: id, rows, attempt, payload
local model, token, room, lease_ms, seed = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local fresh = ARGV[6] == '1'
local now_us, now_ms = now()
local reply, ids, settled = {}, {}, {}
local taken_rows, taken_bytes = 0, 0

if not fresh and not redis.call('ZSCORE', LEASES, token) then return reply end

-- Take one job if it may still be run. Its input stays with it until it is settled.
local function take(id)
  local job = redis.call('HMGET', JOB .. id, 'state', 'rows', 'attempts', 'input', 'input_large', 'bytes', 'deadline_us')
  if job[1] ~= 'queued' then return end
  if tonumber(job[7]) <= now_us then
    settled[#settled + 1] = cut_short(id, 'deadline_exceeded', 'the deadline passed before the job could run', now_us)
    return
  end
  local attempt = (job[3] or 0) + 1
  redis.call('HSET', JOB .. id, 'state', 'running', 'token', token, 'attempts', attempt,
    'started_us', text(now_us), 'entry', '')
  ids[#ids + 1] = id
  taken_rows = taken_rows + job[2]
  taken_bytes = taken_bytes + job[6]
  reply[#reply + 1] = {id, job[2], attempt, job[4] or job[5]}
end

local function take_alone()
  while #ids == 0 do
    local id = redis.call('LPOP', ALONE .. model)
    if not id then return end
    take(id)
  end
end

-- First in, first out, until the next job does not fit; a job larger than the whole room comes first or not at all.
local function take_from(stream)
  while taken_rows < room do
    local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', room - taken_rows)
    local gone, is_full = {}, false
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      if tonumber(fields[2]) > FORMAT_VERSION then is_full = true break end
      local fits = taken_rows + fields[6] <= room or (fresh and taken_rows == 0)
      if not fits then is_full = true break end
      gone[#gone + 1] = entry[1]
      take(fields[4])
    end
    in_pieces('XDEL', stream, gone)
    if #entries == #gone and redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) return end
    if is_full then return end
  end
end

if fresh then take_alone() end
if #ids == 0 or not fresh then
  for _, class in ipairs({'high', 'normal', 'bulk'}) do take_from(WAITING .. model .. ':' .. class) end
end

if #ids > 0 then
  in_pieces('SADD', CLAIM .. token, ids)
  redis.call('ZADD', LEASES, now_ms + lease_ms, token)
  change_backlog(model, -taken_rows, -taken_bytes)
end
publish(settled)
top_up(model, seed, now_ms)
return reply
