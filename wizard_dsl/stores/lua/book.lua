-- One thing done with the book. KEYS[1] begins the names of accounts, KEYS[2] those of reservations, KEYS[3] orders
-- reservations by when they expire, KEYS[4] accounts by when they were last touched. ARGV[1] is what, ARGV[2] the
-- seconds for which an account that nobody touches is kept. Sums are whole numbers far below 2^53.
local accounts, holds, expiring, touched = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local what, kept = ARGV[1], tonumber(ARGV[2])
local AT_ONCE = 100  -- reservations that one call takes as spent at most
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local function whole(number)
  return string.format('%.0f', number)
end

local function add(account, field, amount)
  redis.call('HINCRBY', accounts .. account, field, whole(amount))
  redis.call('EXPIRE', accounts .. account, kept)
  redis.call('ZADD', touched, string.format('%.3f', now), account)
end

local function settle(id, amount)
  local kept_hold = redis.call('GET', holds .. id)
  if kept_hold and kept_hold ~= '' then
    local hold = cmsgpack.unpack(kept_hold)
    for _, account in ipairs(hold.accounts) do
      add(account, 'reserved', -hold.amount)
      add(account, 'spent', amount or hold.amount)
    end
    redis.call('DEL', holds .. id)
    redis.call('ZREM', expiring, id)
  end
end

local function total(account)
  local found = redis.call('HMGET', accounts .. account, 'spent', 'reserved', 'warned')
  return tonumber(found[1] or 0) + tonumber(found[2] or 0), found[3]
end

if what == 'reserve' then
  local id, amount, lasts = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local late = redis.call('ZRANGEBYSCORE', expiring, '-inf', '(' .. string.format('%.6f', now), 'LIMIT', 0, AT_ONCE)
  for _, each in ipairs(late) do settle(each, nil) end
  local names, totals, due = {}, {}, {}
  for index = 6, #ARGV, 3 do
    local account, limit, warn = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
    local sum, warned = total(account)
    if limit and sum + amount > limit then
      return {'refused', account, whole(limit), whole(math.max(0, limit - sum))}
    end
    if warn and not warned and sum >= warn then due[#due + 1] = account end
    names[#names + 1] = account
    totals[#totals + 1] = whole(sum + amount)
  end
  for _, account in ipairs(due) do redis.call('HSET', accounts .. account, 'warned', 1) end
  for _, account in ipairs(names) do add(account, 'reserved', amount) end
  redis.call('SET', holds .. id, cmsgpack.pack({amount = amount, accounts = names}), 'EX', kept)
  redis.call('ZADD', expiring, string.format('%.6f', now + lasts), id)
  redis.call('EXPIRE', expiring, kept)
  redis.call('EXPIRE', touched, kept)
  return {'reserved', due, totals}
end

-- The accounts whose warning is due with what is spent: ARGV from `first` on are accounts, each with its sum.
local function due_from(first)
  local due = {}
  for index = first, #ARGV, 2 do
    local found = redis.call('HMGET', accounts .. ARGV[index], 'spent', 'warned')
    if not found[2] and tonumber(found[1] or 0) >= tonumber(ARGV[index + 1]) then
      redis.call('HSET', accounts .. ARGV[index], 'warned', 1)
      due[#due + 1] = ARGV[index]
    end
  end
  return due
end

if what == 'settle' then
  settle(ARGV[3], tonumber(ARGV[4]))
  return due_from(5)
end

if what == 'spend' then  -- what was spent while the server was away, once for each id
  if redis.call('SET', holds .. ARGV[3], '', 'NX', 'EX', kept) then
    for index = 6, 5 + tonumber(ARGV[5]) do add(ARGV[index], 'spent', tonumber(ARGV[4])) end
  end
  return due_from(6 + tonumber(ARGV[5]))
end

local prefix, found = ARGV[3], {}
for _, account in ipairs(redis.call('ZRANGE', touched, 0, -1)) do
  if string.sub(account, 1, #prefix) == prefix then
    local sums = redis.call('HMGET', accounts .. account, 'spent', 'reserved')
    found[#found + 1] = {account, sums[1] or '0', sums[2] or '0'}
  end
end
redis.call('ZREMRANGEBYSCORE', touched, '-inf', string.format('%.3f', now - kept))
return found
