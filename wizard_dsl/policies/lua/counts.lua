-- Counts over a window in ten buckets, see _counts.py: {last bucket or false, firsts, seconds}.
local KEPT = 11

local function zeros()
  local all = {}
  for slot = 1, KEPT do all[slot] = 0 end
  return all
end

local function fresh() return {false, zeros(), zeros()} end

local function bucket_of(time, width)
  local rest = math.fmod(time, width)
  local exact = (time - rest) / width
  local number = math.floor(exact)
  if exact - number > 0.5 then number = number + 1 end
  return number
end

local function advance(counts, width)
  local number = bucket_of(now, width)
  local last = counts[1]
  if last and number <= last then return last end
  if last then
    for passed = math.max(last + 1, number - KEPT + 1), number do
      counts[2][passed % KEPT + 1], counts[3][passed % KEPT + 1] = 0, 0
    end
  end
  counts[1] = number
  return number
end

-- Count `amount` (1) more; `which` is 2 for the firsts and 3 for the seconds.
local function add(counts, which, width, amount)
  local number = advance(counts, width)
  local slot = number % KEPT + 1
  counts[which][slot] = counts[which][slot] + (amount or 1)
  return number
end

-- Take back one of `which` that was asked for at `taken`, and counted then or a little later, unless it has left the
-- window by itself.
local function take_back(counts, which, width, taken)
  local number = advance(counts, width)
  local bucket = bucket_of(taken, width)
  for each = math.max(bucket, number - KEPT + 1), math.min(bucket + 1, number) do
    local slot = each % KEPT + 1
    if counts[which][slot] > 0 then
      counts[which][slot] = counts[which][slot] - 1
      return
    end
  end
end

local function sum(all)
  local total = 0
  for slot = 1, KEPT do total = total + all[slot] end
  return total
end
