-- Entries that are stored leave the stream; rows of theirs that cannot be are set aside, once.
-- KEYS[1] gw:{money}:ledger           stream: one entry = fields `row`
-- KEYS[2] gw:{money}:ledger:refused   stream: `row` as it was, `why`
-- ARGV: group, n, n entry ids, then for each refused row: its entry's id, the row, why
local MOST_REFUSED = 100000 -- the oldest go

local ours = {}
local count = tonumber(ARGV[2])
for i = 3, 2 + count do
  -- another writer may have taken the entry over and be done with it
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    ours[ARGV[i]] = true
  end
  redis.call('XDEL', KEYS[1], ARGV[i])
end
for i = 3 + count, #ARGV, 3 do
  if ours[ARGV[i]] then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', MOST_REFUSED, '*', 'row', ARGV[i + 1], 'why', ARGV[i + 2])
  end
end
return count
