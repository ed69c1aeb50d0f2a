-- Changes the work of leases whose request has less left to do. KEYS as in lib.lua.
-- ARGV: lease id and work, for each. Unknown ids change nothing.
for i = 1, #ARGV, 2 do
  local lease = redis.call('HGET', LEASES, ARGV[i])
  if lease then
    local slot, work, owner = parse(lease)
    redis.call('HSET', LEASES, ARGV[i], slot .. ' ' .. ARGV[i + 1] .. ' ' .. owner)
    redis.call('HINCRBY', LOAD, slot, int(tonumber(ARGV[i + 1]) - tonumber(work)))
  end
end
return redis.status_reply('OK')
