-- The leader: count again what a counter says, one slice a call. What is wrong is put right.
-- ARGV  holder, what: 'model', 'total' or 'key', then by that
--       model: name:version, most entries a call, and of the calls before: class (1 to 3), last entry, rows, bytes, witness
--         ('1', '-', '0', '0', '' at first)
--       key: id of an API key, cursor of ZSCAN, most jobs a call
-- Reply what comes next, then what this call corrected: rows or jobs too many in the counter (below 0: too few), bytes
--       too many. Next is 'more' (then the arguments of the next call follow, from class or cursor on), 'done', 'moved'
--       when the jobs of a long queue came or went meanwhile, or 'not_leading' when another leads.
if not leads(ARGV[1]) then return {'not_leading', 0, 0} end
despite_full_memory()

local function reply_of(next_one, counter, rows, bytes, ...)
  if rows ~= 0 or bytes ~= 0 then redis.call('HINCRBY', TALLY, 'drift ' .. counter, 1) end
  return {next_one, text(rows), text(bytes + 0), ...}
end

local function counter_at(key)
  local known = redis.call('HMGET', key, 'rows', 'bytes')
  return tonumber(known[1] or 0), tonumber(known[2] or 0)
end

local classes = {'high', 'normal', 'bulk'}

-- Ids only grow, so the same last entries and lengths mean that nothing came and nothing went.
local function witness_of(model)
  local parts, entries = {}, redis.call('LLEN', ALONE .. model) + redis.call('LLEN', STEPS_ALONE .. model)
  for _, class in ipairs(classes) do
    local stream = WAITING .. model .. ':' .. class
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    local length = redis.call('XLEN', stream)
    entries = entries + length
    parts[#parts + 1] = length .. ' ' .. (last and last[1] or '-')
  end
  return table.concat(parts, ','), entries
end

local function recount_model(model, most, class, after, rows, bytes, witness)
  local now_witness, entries = witness_of(model)
  local missing = 0
  if witness == '' then
    witness = now_witness
    local known = counter_at(BACKLOG .. model)
    if known < entries then  -- each has one row at least; with too few rows no ticket would come
      missing = entries - known
      change_backlog(model, missing, 0)
    end
  elseif witness ~= now_witness then
    return reply_of('moved', 'backlog', 0, 0)
  end
  while class <= #classes do
    local found = redis.call('XRANGE', WAITING .. model .. ':' .. classes[class], after, '+', 'COUNT', most)
    for _, entry in ipairs(found) do rows, bytes, after = rows + entry[2][6], bytes + entry[2][8], '(' .. entry[1] end
    if #found == most then return reply_of('more', 'backlog', -missing, 0, class, after, text(rows), text(bytes), witness) end
    most = most - #found
    class, after = class + 1, '-'
  end
  for _, list in ipairs({ALONE .. model, STEPS_ALONE .. model}) do
    if redis.call('LLEN', list) > most then return reply_of('moved', 'backlog', -missing, 0) end
    for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do
      local job = redis.call('HMGET', JOB .. id, 'state', 'rows', 'bytes')
      if job[1] == 'queued' then rows, bytes = rows + job[2], bytes + job[3] end
    end
  end
  local known_rows, known_bytes = counter_at(BACKLOG .. model)
  if known_rows ~= rows or known_bytes ~= bytes then change_backlog(model, rows - known_rows, bytes - known_bytes) end
  return reply_of('done', 'backlog', known_rows - missing - rows, known_bytes - bytes)
end

local function recount_total()
  local rows, bytes = 0, 0
  for _, model in ipairs(redis.call('SMEMBERS', MODELS)) do
    local its_rows, its_bytes = counter_at(BACKLOG .. model)
    rows, bytes = rows + its_rows, bytes + its_bytes
  end
  local known_rows, known_bytes = counter_at(TOTAL)
  if known_rows ~= rows or known_bytes ~= bytes then change_waiting(TOTAL, rows - known_rows, bytes - known_bytes) end
  return reply_of('done', 'total', known_rows - rows, known_bytes - bytes)
end

local open = {queued = true, running = true, validating = true, in_progress = true, finalizing = true, cancelling = true}

-- Jobs and bulk batches that ended and still count against a key.
local function recount_key(key, cursor, most)
  local page = redis.call('ZSCAN', UNFINISHED .. key, cursor, 'COUNT', most)
  local gone = {}
  for i = 1, #page[2], 2 do
    local id = page[2][i]
    if not open[redis.call('HGET', JOB .. id, 'state') or redis.call('HGET', BATCH .. id, 'status') or ''] then
      gone[#gone + 1] = id
    end
  end
  in_pieces('ZREM', UNFINISHED .. key, gone)
  if page[1] == '0' then return reply_of('done', 'unfinished', #gone, 0) end
  return reply_of('more', 'unfinished', #gone, 0, page[1])
end

if ARGV[2] == 'total' then return recount_total() end
if ARGV[2] == 'key' then return recount_key(ARGV[3], ARGV[4], ARGV[5]) end
return recount_model(ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9])
