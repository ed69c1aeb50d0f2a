-- An attempt of a job is over: its counters and its row in one step, by whoever tells first. KEYS as in keep.lua.
-- ARGV[4] the epoch in which it was found kept   ARGV[5] attempt   ARGV[6] row, '' for none   ARGV[7] 1: nobody told; it is
-- booked at what was set aside   then for each account: what was used, by how much less is held
-- Returns OK; REPEATED: it was settled before; FLUSHED: the store knows nothing of it any more.
local KEPT, KEPT_SLICES = KEYS[6], KEYS[7]
if redis.call('GET', EPOCH) ~= ARGV[4] then return FLUSHED end
if redis.call('HDEL', KEPT, ARGV[5]) == 0 then return REPEATED end
for at = 8, #ARGV, 3 do
  hold(KEPT_SLICES, ARGV[at], -tonumber(ARGV[at + 2]))
  use(ARGV[at], tonumber(ARGV[at + 1]), ARGV[7] == '1')
end
if ARGV[6] ~= '' then redis.call('XADD', LEDGER, '*', 'row', ARGV[6]) end
return OK
