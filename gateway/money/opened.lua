-- Attempts that took from slices begin: what the ledger gets of them if their owner dies. KEYS as in till.lua.
-- ARGV[4] the last batch made   ARGV[5..] attempt, entry. Returns the owner's standing.
local AT_ONCE = 1000 -- arguments of one command, in pairs; unpack() takes a few thousand
local status = standing()
if status ~= OK or overtaken(ARGV[4]) then return status end
for at = 5, #ARGV, AT_ONCE do
  redis.call('HSET', OPEN, unpack(ARGV, at, math.min(at + AT_ONCE - 1, #ARGV)))
end
return status
