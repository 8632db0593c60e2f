-- One thing done with one cache. KEYS[1] holds its keys in the order in which they leave, KEYS[2] its counters (the
-- one without a name is its logical clock), KEYS[3] begins the names of its values. ARGV: what, the rule by which keys
-- leave, seconds for which an unused cache is remembered, and what the thing needs.
local order, counts, values = KEYS[1], KEYS[2], KEYS[3]
local what, rule, remember = ARGV[1], ARGV[2], tonumber(ARGV[3])
local USE = 2 ^ 40  -- one use, in a score of lfu; below it stands the time of the last one
local MOST = 8191  -- uses that are told apart
local AT_ONCE = 1000  -- keys that one call drops at most

local function used(key, uses)
  local now = redis.call('HINCRBY', counts, '', 1)
  redis.call('ZADD', order, string.format('%.0f', (rule == 'lfu' and math.min(uses, MOST) * USE or 0) + now), key)
end

local function remembered()
  redis.call('EXPIRE', order, remember)
  redis.call('EXPIRE', counts, remember)
end

if what == 'get' then
  local value = redis.call('GET', values .. ARGV[4])
  local score = value and rule ~= 'fifo' and redis.call('ZSCORE', order, ARGV[4])
  if score then used(ARGV[4], math.floor(tonumber(score) / USE) + 1) end
  return value
end

if what == 'put' then
  local key, value, keep, limit = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
  local excess = redis.call('ZCARD', order) - limit
  if not redis.call('ZSCORE', order, key) then excess = excess + 1 end
  if excess > 0 then
    local gone, dropped = redis.call('ZPOPMIN', order, math.min(excess, AT_ONCE)), 0
    for index = 1, #gone, 2 do dropped = dropped + redis.call('DEL', values .. gone[index]) end
    if dropped > 0 then redis.call('HINCRBY', counts, 'evictions', dropped) end
  end
  redis.call('SET', values .. key, value, 'PX', keep)
  used(key, 1)
  remembered()
  return 1
end

if what == 'delete' then
  local gone = 0
  for index = 4, #ARGV do
    redis.call('ZREM', order, ARGV[index])
    gone = gone + redis.call('DEL', values .. ARGV[index])
  end
  return gone
end

if what == 'keys' then
  local found = {}
  for _, key in ipairs(redis.call('ZRANGE', order, 0, -1)) do
    if redis.call('EXISTS', values .. key) == 1 then
      found[#found + 1] = key
    else
      redis.call('ZREM', order, key)  -- its time is over
    end
  end
  return found
end

if what == 'peek' then
  local found = {}
  for index = 4, #ARGV do found[#found + 1] = redis.call('GET', values .. ARGV[index]) end
  return found
end

if what == 'count' then
  for index = 4, #ARGV, 2 do redis.call('HINCRBYFLOAT', counts, ARGV[index], ARGV[index + 1]) end
  remembered()
  return 1
end

return redis.call('HGETALL', counts)
