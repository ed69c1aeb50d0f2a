-- The writers' group from the stream's first entry on, where it is not there.
-- KEYS[1] gw:{money}:ledger         stream
-- KEYS[2] gw:{money}:ledger:state   hash: writer -> JSON, what it last said
-- ARGV: group, writer
redis.call('HDEL', KEYS[2], ARGV[2]) -- a full store takes what grows it only after a write that does not
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then
  return made
end
return 0
