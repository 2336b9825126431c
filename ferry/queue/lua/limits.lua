-- The limits of API keys, for the scripts that take jobs and batches in: looked at before the first write, charged with it.
-- Said as "{key id} {jobs a second or 0} {most unfinished or 0}", or '' where there are none.
local per_key = {}  -- what limits each API key of this call, by the text that says it

-- How much a key has left: of jobs at once, and of its rate as the time at which its next job would be due if jobs
-- came evenly (GCRA); up to a second's worth may come together.
local function limits_of(text_of_limits, steady_us)
  local limits = per_key[text_of_limits]
  if limits then return limits end
  local id, rate, most = string.match(text_of_limits, '^(%S+) (%S+) (%S+)$')
  limits = {id = id, rate = tonumber(rate), most = tonumber(most), new = {}}
  if limits.most > 0 then
    -- A step of Redis' clock must not free what is unfinished.
    local _, _, _, sure_us = now()
    redis.call('ZREMRANGEBYSCORE', UNFINISHED .. id, '-inf', text(sure_us / 1000))
    limits.unfinished = redis.call('ZCARD', UNFINISHED .. id)
  end
  if limits.rate > 0 then
    limits.gap_us = 1000000 / limits.rate
    limits.ahead_us = math.max(limits.gap_us, 1000000) - limits.gap_us
    -- No farther ahead than it can be: a job that came while Redis' clock was ahead must not stop the next ones.
    local latest_us = steady_us + limits.ahead_us + limits.gap_us
    limits.due_us = math.max(steady_us, math.min(latest_us, tonumber(redis.call('GET', RATE .. id) or 0)))
  end
  per_key[text_of_limits] = limits
  return limits
end

-- Returns what a key is over, and the number that goes with it; nil where it may send a job, which then counts.
local function over(text_of_limits, id, deadline_ms, steady_us, now_ms)
  if text_of_limits == '' then return nil end
  local limits = limits_of(text_of_limits, steady_us)
  if limits.most > 0 and limits.unfinished + #limits.new / 2 >= limits.most then
    return 'over_unfinished', limits.unfinished + #limits.new / 2
  end
  if limits.rate > 0 then
    local early_us = limits.due_us - limits.ahead_us - steady_us
    if early_us > 0 then return 'over_rate', math.ceil(early_us / 1000) end
    limits.due_us = limits.due_us + limits.gap_us
  end
  limits.new[#limits.new + 1] = text(now_ms + deadline_ms)
  limits.new[#limits.new + 1] = id
  return nil
end

-- Write down what was let in.
local function charge_limits(steady_us)
  for _, limits in pairs(per_key) do
    if #limits.new > 0 then
      if limits.most > 0 then in_pieces('ZADD', UNFINISHED .. limits.id, limits.new) end
      if limits.rate > 0 then
        redis.call('SET', RATE .. limits.id, text(limits.due_us), 'PX', math.ceil((limits.due_us - steady_us) / 1000) + 1)
      end
    end
  end
end

-- Add to a reply what is left of the limits of each key that this call asked about: the text that says them, jobs it may
-- send now, milliseconds until it may send another, jobs it may have at once; -1 where there is no such limit.
local function add_limits_left(reply, steady_us)
  for text_of_limits, limits in pairs(per_key) do
    local rate_left, wait_ms, unfinished_left = -1, 0, -1
    if limits.rate > 0 then
      local early_us = limits.due_us - limits.ahead_us - steady_us
      rate_left = math.max(0, math.floor(-early_us / limits.gap_us) + 1)
      wait_ms = math.max(0, math.ceil(early_us / 1000))
    end
    if limits.most > 0 then unfinished_left = math.max(0, limits.most - limits.unfinished - #limits.new / 2) end
    for _, part in ipairs({text_of_limits, rate_left, wait_ms, unfinished_left}) do reply[#reply + 1] = part end
  end
end
