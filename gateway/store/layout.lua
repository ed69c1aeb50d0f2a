-- The layout of what is in the store.
-- KEYS[1] gw:layout   "N OLDEST": the newest layout that a gateway of it has, the oldest that can be used beside it
-- ARGV[1], ARGV[2]: the same two of the gateway that asks.
-- Returns what holds, unparsed, after it was raised to the caller's where both can be used side by side.
local own, oldest = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('GET', KEYS[1])
local number, least = string.match(held or '', '^(%d+) (%d+)$')
if held and not number then return held end
number, least = tonumber(number or own), tonumber(least or oldest)
if own < least or number < oldest then return held end
held = string.format('%d %d', math.max(own, number), math.max(oldest, least))
redis.call('SET', KEYS[1], held)
return held
