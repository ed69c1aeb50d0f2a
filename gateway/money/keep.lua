-- What an attempt of a job holds is no longer its replica's: whoever works on the job settles it. KEYS as in till.lua, then
-- KEYS[6] gw:{money}:kept          hash: attempt -> JSON: its job, what it holds, and the row that the ledger gets should nobody tell
-- KEYS[7] gw:{money}:slices:kept   hash: account -> what all of them hold of it; as an owner's that never dies
-- ARGV[4] number of this call, of all keeps of this owner   ARGV[5] attempt   ARGV[6] what is kept   then account, amount
-- Returns the owner's standing, or REPEATED: a later one was heard before.
local KEPT, KEPT_SLICES = KEYS[6], KEYS[7]
local status = standing()
if status ~= OK then return status end
if redis.call('HEXISTS', KEPT, ARGV[5]) == 1 then return OK end
if tonumber(ARGV[4]) <= tonumber(redis.call('HGET', SLICES, '#keep') or 0) then return REPEATED end
redis.call('HSET', SLICES, '#keep', ARGV[4])
for at = 7, #ARGV, 2 do
  hold(KEPT_SLICES, ARGV[at], -hold(SLICES, ARGV[at], -tonumber(ARGV[at + 1])))
end
redis.call('HDEL', OPEN, ARGV[5])
redis.call('HSET', KEPT, ARGV[5], ARGV[6])
return OK
