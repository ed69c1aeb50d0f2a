-- Attempts that took from slices begin: what the ledger gets of them if their owner dies. KEYS as in till.lua.
-- ARGV[4..] attempt, entry. Returns the owner's standing.
local status = standing()
if status == OK then redis.call('HSET', OPEN, unpack(ARGV, 4)) end
return status
