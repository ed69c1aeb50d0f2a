-- Attempts that took from slices begin: what the ledger gets of them if their owner dies. KEYS as in till.lua.
-- ARGV[4] the last batch made   ARGV[5..] attempt, entry. Returns the owner's standing.
local status = standing()
if status == OK and not overtaken(ARGV[4]) then redis.call('HSET', OPEN, unpack(ARGV, 5)) end
return status
