-- A batch of settlements: counters and rows in one step, once. KEYS as in till.lua.
-- ARGV[4] number of the batch   ARGV[5] number of accounts, then for each: account, what was used, by how much less is held
-- then number of attempts that are over, then their ids, then rows
-- Returns the owner's standing, or REPEATED: this batch was settled before.
local status = standing()
if status ~= OK then return status end
if tonumber(ARGV[4]) <= tonumber(redis.call('HGET', SLICES, '#batch') or 0) then return REPEATED end
redis.call('HSET', SLICES, '#batch', ARGV[4])
beat()

local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local account, used, less = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if less > 0 then hold(SLICES, account, -less) end
  use(account, used, false)
  at = at + 3
end
local closed = tonumber(ARGV[at])
if closed > 0 then redis.call('HDEL', OPEN, unpack(ARGV, at + 1, at + closed)) end
local fields = {}
for i = at + closed + 1, #ARGV do
  fields[#fields + 1] = 'row'
  fields[#fields + 1] = ARGV[i]
end
if #fields > 0 then redis.call('XADD', LEDGER, '*', unpack(fields)) end
return OK
