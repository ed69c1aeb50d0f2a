-- Forgets writers that are gone: in one step, because a consumer takes what it has not acknowledged with it.
-- KEYS[1] gw:{money}:ledger         stream
-- KEYS[2] gw:{money}:ledger:state   hash: writer -> JSON, what it last said
-- ARGV: group, ms after which a silent writer is gone
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local is = {}
  for i = 1, #each, 2 do
    is[each[i]] = each[i + 1]
  end
  if is.pending == 0 and is.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], is.name)
    redis.call('HDEL', KEYS[2], is.name)
  end
end
return 0
