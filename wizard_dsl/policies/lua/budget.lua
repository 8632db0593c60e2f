-- The retry budget, see _shared_budget.py. row: counts of first attempts and repeats.
local width = math.max(arguments.window, 1e-3) / 10
row = row or fresh()
if arguments.deposits > 0 then add(row, 2, width, arguments.deposits) end
for _, age in ipairs(arguments.unused) do take_back(row, 3, width, now - age) end
local granted = false
if arguments.withdraw then
  advance(row, width)
  granted = sum(row[3]) + 1 <= math.max(arguments.ratio * sum(row[2]), arguments.floor) + 1e-9
  if granted then add(row, 3, width) end
end
return row, granted, arguments.window * 1.2
