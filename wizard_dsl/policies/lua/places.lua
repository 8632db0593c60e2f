-- Places that are taken at once, see _shared_queue.py. row.leases: {id, until when it is held}.
local queue = waiting()
local leases = {}
for _, each in ipairs(row and row.leases or {}) do
  if each[2] > now then leases[#leases + 1] = each end
end

local reply = {'', 0, 0, {}}
if arguments.event == 'take' then
  local index = place(queue)
  if index <= arguments.limit - #leases then
    leases[#leases + 1] = {arguments.id, now + arguments.hold}
    queue = without(queue, arguments.id)
    reply = {'taken', now, 0, {arguments.limit - #leases}}
  elseif arguments.patience <= 0 then
    queue = without(queue, arguments.id)
    reply = {'refused', 0, -1, {arguments.limit - #leases}}
  else
    queue[index] = {arguments.id, now + arguments.kept, 0}
    reply = {'wait', 0, -1, {arguments.limit - #leases}}
  end
elseif arguments.event == 'give' then
  leases, queue = without(leases, arguments.id), without(queue, arguments.id)
else
  for _, id in ipairs(arguments.ids) do
    leases = without(leases, id)
    leases[#leases + 1] = {id, now + arguments.hold}
  end
end
return {queue = queue, leases = leases}, reply, arguments.hold + arguments.kept
