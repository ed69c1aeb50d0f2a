-- Renews all leases of one owner on one backend, and sweeps the dead. KEYS as in lib.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh
-- Returns {known, recovering, number of live owners}; known 0: swept, flushed or new, so the owner writes back.
local owner = ARGV[1]
local now = clock(ARGV[2])

sweep(now, owner)
local known = redis.call('ZSCORE', BEATS, owner)
redis.call('ZADD', BEATS, int(now), owner)
local waits = recovering(now, ARGV[3])
keep()
return { flag(known), flag(waits), redis.call('ZCARD', BEATS) }
