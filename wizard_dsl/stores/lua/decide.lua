-- One decision: the row of KEYS[1], the server's time and the arguments in; the new row and the reply out.
-- KEYS[2] holds the processes that use this key, by when each was last seen. ARGV[2] is the one that asks, or empty
-- where it told so a moment ago. What stands between the two marks is the decision itself.
local function decide(row, now, arguments)
--DECISION--
end

local MEMBER = 30  -- seconds for which a process counts after it was last seen
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
if ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[2], string.format('%.6f', now), ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now - MEMBER))
  redis.call('PEXPIRE', KEYS[2], MEMBER * 1000)
end
local kept = redis.call('GET', KEYS[1])
local row, reply, keep = decide(kept and cmsgpack.unpack(kept) or nil, now, cmsgpack.unpack(ARGV[1]))
if row == nil then
  if kept then redis.call('DEL', KEYS[1]) end
else
  redis.call('SET', KEYS[1], cmsgpack.pack(row), 'PX', math.max(1, math.ceil(keep * 1000)))
end
return cmsgpack.pack({now, redis.call('ZCARD', KEYS[2]), reply})
