-- What the ledger knows of a quota's period, after the store lost its data. KEYS as in till.lua, KEYS[6] the quota.
-- ARGV[4] period   ARGV[5] what was used. Counts only where the store knows of less. Returns what holds.
redis.call('HSETNX', KEYS[6], ARGV[4] .. ':held', 0)
local used = math.max(tonumber(redis.call('HGET', KEYS[6], ARGV[4] .. ':used') or 0), tonumber(ARGV[5]))
redis.call('HSET', KEYS[6], ARGV[4] .. ':used', int(used))
return used
