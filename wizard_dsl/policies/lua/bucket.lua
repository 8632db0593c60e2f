-- The token bucket, see _shared_bucket.py. row: {level, at}; the level is negative while tokens are booked ahead.
local rate, burst, amount = arguments.rate, arguments.burst, arguments.amount
local level, at = burst, now
if row then
  at = math.max(row[2], now)
  level = math.min(burst, row[1] + (at - row[2]) * rate)
end
if arguments.carry >= 0 then level = math.min(level, 0) - arguments.carry end
local wait = 0
if amount > 0 then wait = math.max(0, (amount - level) / rate) end
local granted = wait <= arguments.patience + 1e-9
if granted then level = math.min(burst, level - amount) end
return {level, at}, {granted, wait, level}, (burst - level) / rate + 60
