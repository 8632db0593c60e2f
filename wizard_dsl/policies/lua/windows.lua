-- Sliding windows, see _shared_windows.py. row.windows: {number, count before, count now}, or, of an exact one,
-- {time, requests} for each time, in the order of arguments.windows, each {seconds, limit, whether it counts LLM
-- tokens, whether it is exact}.
if not row and arguments.event ~= 'take' then return nil, {'unknown', 0, 0, {}}, 0 end
local queue = waiting()
local counts = row and row.windows or arguments.known
local longest = 0

local function number_of(time, period)
  local exact = (time - math.fmod(time, period)) / period
  local number = math.floor(exact)
  if exact - number > 0.5 then number = number + 1 end
  return number
end

local function only(log, passes)
  local left = {}
  for _, each in ipairs(log) do
    if passes(each) then left[#left + 1] = each end
  end
  return left
end

for index, window in ipairs(arguments.windows) do
  local number, period = number_of(now, window[1]), window[1]
  longest = math.max(longest, period)
  if window[4] then
    counts[index] = only(counts[index] or {}, function(each) return each[1] + period > now end)
  else
    local known = counts[index] or {number, 0, 0}
    if number > known[1] then known = {number, number == known[1] + 1 and known[3] or 0, 0} end
    counts[index] = known
  end
end

local function add(count, number, amount)
  if number >= count[1] then count[3] = count[3] + amount
  elseif number == count[1] - 1 then count[2] = count[2] + amount end
end

local function note(log, at, amount)
  local index = 1
  while log[index] and log[index][1] < at do index = index + 1 end
  if log[index] and log[index][1] == at then amount = amount + table.remove(log, index)[2] end
  if amount ~= 0 then table.insert(log, index, {at, amount}) end
end

local function change(at, requests, tokens)
  for index, window in ipairs(arguments.windows) do
    if window[4] then
      note(counts[index], at, requests)
    else
      add(counts[index], number_of(at, window[1]), window[3] and tokens or requests)
    end
  end
end

local function floor()
  for index, count in ipairs(counts) do
    if arguments.windows[index][4] then
      counts[index] = only(count, function(each) return each[2] > 0 end)
    else
      count[2], count[3] = math.max(0, count[2]), math.max(0, count[3])
    end
  end
end

local function wait_of(count, period, limit, ahead, own)
  local before, current = count[2], count[3]
  local left = period - (now - count[1] * period)
  local waited = 0
  while ahead + own > limit - current do
    local gone = math.min(ahead, math.max(0, limit - current))
    ahead, waited = ahead - gone, waited + left
    before, current, left = current + gone, 0, period
  end
  local room = limit + 1 - current - ahead - own
  if before * left / period < room then return waited end
  return waited + left - room * period / before + 1e-5
end

local function wait_of_log(log, period, limit, ahead)
  local times = {}
  for _, each in ipairs(log) do
    for _ = 1, each[2] do times[#times + 1] = each[1] end
  end
  local rest = math.fmod(ahead, limit)
  local first = times[#times + rest - limit + 1]
  return (first and first + period or now) + (ahead - rest) / limit * period - now
end

local reply = {'', 0, 0, {}}
if arguments.event == 'take' then
  for index, each in ipairs(arguments.carry) do
    if arguments.windows[index][4] then
      for _, noted in ipairs(each) do note(counts[index], noted[1], noted[2]) end
    else
      add(counts[index], each[1] - 1, each[2])
      add(counts[index], each[1], each[3])
    end
  end
  floor()
  local index, ahead, wait = place(queue), 0, 0
  for before = 1, index - 1 do ahead = ahead + queue[before][3] end
  for which, window in ipairs(arguments.windows) do
    local others, own = index - 1, 1
    if window[3] then others, own = ahead, arguments.tokens end
    local one = window[4] and wait_of_log(counts[which], window[1], window[2], others)
    wait = math.max(wait, one or wait_of(counts[which], window[1], window[2], others, own))
  end
  if wait == 0 then
    change(now, 1, arguments.tokens)
    queue = without(queue, arguments.id)
    reply = {'taken', now, 0, counts}
  elseif wait > arguments.patience + 1e-9 then
    queue = without(queue, arguments.id)
    reply = {'refused', 0, wait, counts}
  else
    queue[index] = {arguments.id, now + wait + arguments.hold, arguments.tokens}
    reply = {'wait', 0, wait + 1e-5, counts}
  end
elseif arguments.event == 'leave' then
  queue = without(queue, arguments.id)
else
  change(arguments.at, arguments.requests, arguments.tokens)
  floor()
  reply = {'changed', 0, 0, counts}
end
return {queue = queue, windows = counts}, reply, 2 * longest + 1
