-- The circuit breaker, see _breaker_state.py, whose names these are. row: state, generation, opened_until, timeout,
-- successes, leases (pairs of ticket and expiry), counts and slow (last bucket, firsts, seconds).
local DUST = 1e-9
local limits, event, ticket = arguments.limits, arguments.event, arguments.ticket
local width = math.max(limits.window, 1e-3) / 10

row = row or arguments.known or {
  state = 'closed', generation = 0, opened_until = 0, timeout = limits.reset_timeout, successes = 0, leases = {},
  counts = fresh(), slow = fresh(),
}

local function change(state)
  row.state, row.generation = state, row.generation + 1
  row.leases, row.successes, row.counts, row.slow = {}, 0, fresh(), fresh()
end

local function open(timeout)
  row.timeout, row.opened_until = timeout, now + timeout
  change('open')
end

local function grown()
  return math.min(row.timeout * 2, math.max(limits.max_reset_timeout, limits.reset_timeout))
end

local function reaches(ratio, part, total)
  return part > 0 and total >= math.max(1, limits.minimum_calls) and part >= ratio * total - DUST
end

local function judge()
  if row.state ~= 'closed' then return end
  local failures = sum(row.counts[3])
  if failures == 0 and sum(row.slow[2]) == 0 and sum(row.slow[3]) == 0 then return end
  local fails = limits.failure_threshold and failures >= limits.failure_threshold
    or limits.failure_ratio and reaches(limits.failure_ratio, failures, failures + sum(row.counts[2]))
  if not fails then
    advance(row.slow, width)
    advance(row.counts, width)
    local overtaken = sum(row.slow[2])
    local total = sum(row.counts[2]) + sum(row.counts[3]) + overtaken
    fails = reaches(limits.slow_ratio, overtaken + sum(row.slow[3]), total)
  end
  if fails then open(limits.reset_timeout) end
end

local function live()
  local left = {}
  for _, lease in ipairs(row.leases) do
    if lease[2] > now then left[#left + 1] = lease end
  end
  return left
end

local function release()
  local left, expires = {}, nil
  for _, lease in ipairs(row.leases) do
    if lease[1] == ticket.id then expires = lease[2] else left[#left + 1] = lease end
  end
  row.leases = left
  return expires
end

local function take_back()
  if ticket.generation ~= row.generation then return false end
  if not ticket.lease then return true end
  local expires = release()
  return expires ~= nil and expires >= now
end

local function shut()
  if row.state == 'open' then return now < row.opened_until and not arguments.forced end
  if row.state == 'half_open' then return #live() >= limits.half_open_max_calls end
  return row.state == 'forced_open'
end

local on = {}

function on.look() end

function on.admit()
  if shut() then
    ticket = false
    return
  end
  ticket.generation, ticket.lease = row.generation, false
  if row.state == 'closed' or row.state == 'forced_closed' then return end
  if row.state == 'open' then change('half_open') end
  row.leases = live()
  row.leases[#row.leases + 1] = {ticket.id, now + arguments.lease}
  ticket.generation, ticket.lease = row.generation, true
end

function on.success()
  if not take_back() then return end
  ticket.succeeded = true
  if row.state ~= 'half_open' then
    ticket.bucket = add(row.counts, 2, width)
    if arguments.late then add(row.slow, 3, width) end
    judge()
    return
  end
  row.successes = row.successes + 1
  if row.successes >= limits.success_threshold then
    ticket.reopens_for = grown()
    change('closed')
    row.timeout = limits.reset_timeout
    ticket.generation = row.generation
  end
end

function on.overtaken()
  if not take_back() then return end
  if row.state == 'half_open' then
    open(grown())
    return
  end
  add(row.slow, 2, width)
  judge()
end

function on.failure()
  if ticket.generation ~= row.generation then return end
  if ticket.reopens_for then
    open(ticket.reopens_for)
  elseif ticket.lease and row.state == 'half_open' then
    if take_back() or ticket.succeeded then open(grown()) end
  else
    if ticket.bucket then
      local slot = ticket.bucket % KEPT + 1
      if advance(row.counts, width) - ticket.bucket < KEPT and row.counts[2][slot] > 0 then
        row.counts[2][slot] = row.counts[2][slot] - 1
      end
      ticket.bucket = false
    end
    add(row.counts, 3, width)
    judge()
  end
end

function on.neutral() release() end

function on.force_open() change('forced_open') end

function on.force_close() change('forced_closed') end

function on.reset()
  row.timeout = limits.reset_timeout
  change('closed')
end

on[event]()
return row, {row, ticket}, arguments.keep[row.state] + math.max(0, row.opened_until - now)
