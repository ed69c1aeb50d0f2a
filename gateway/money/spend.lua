-- Spends from a rule's budget over the last hour, or refuses.
-- KEYS[1] gw:budget:{rule}   hash: minute since the epoch -> micro-USD spent or reserved in it
-- ARGV[1] micro-USD to add (negative gives back)   ARGV[2] cap in micro-USD, -1: book without asking
-- ARGV[3] minute to book in, 0 for now   ARGV[4] epoch seconds, 0 for the store's clock (tests give theirs)
-- Returns {1 or 0, micro-USD of the hour before this call, minute booked}
local BUCKETS = 61 -- whole minutes that hold every instant of the last hour
local EXPIRY_SECONDS = 7200

local now = tonumber(ARGV[4])
if now == 0 then now = tonumber(redis.call('TIME')[1]) end
local minute = math.floor(now / 60)
local spent = 0
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  if tonumber(rows[i]) <= minute - BUCKETS then
    redis.call('HDEL', KEYS[1], rows[i])
  else
    spent = spent + tonumber(rows[i + 1])
  end
end
local amount, cap = tonumber(ARGV[1]), tonumber(ARGV[2])
if cap >= 0 and spent + amount > cap then
  return {0, spent, minute}
end
local at = tonumber(ARGV[3])
if at == 0 then at = minute end
if at > minute - BUCKETS then
  redis.call('HINCRBY', KEYS[1], string.format('%d', at), ARGV[1])
  redis.call('EXPIRE', KEYS[1], EXPIRY_SECONDS)
end
return {1, spent, minute}
