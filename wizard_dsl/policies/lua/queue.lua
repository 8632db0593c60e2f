-- A line for all processes, see _shared_queue.py. row.queue: {id, until when it is kept, LLM tokens} in their order.
local function waiting()
  local left = {}
  for _, each in ipairs(row and row.queue or {}) do
    if each[2] > now then left[#left + 1] = each end
  end
  return left
end

local function place(queue)
  for index, each in ipairs(queue) do
    if each[1] == arguments.id then return index end
  end
  return #queue + 1
end

local function without(list, id)
  local left = {}
  for _, each in ipairs(list) do
    if each[1] ~= id then left[#left + 1] = each end
  end
  return left
end
