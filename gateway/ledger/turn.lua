-- Whose turn it is to write, where only one may: its name, for so long.
-- KEYS[1] gw:{money}:ledger:writer   string: the writer's name
-- ARGV: writer, ms (0: gives it back)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if tonumber(ARGV[2]) == 0 then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('DEL', KEYS[1]) -- a full store takes what grows it only after a write that does not
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
