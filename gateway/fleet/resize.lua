-- Changes the work of leases whose request has less left to do. KEYS as in waits.lua. Unknown ids change nothing.
-- ARGV[1] how many places of them are left to other replicas   [2] owner, who is not told
-- then lease id and work, for each
for i = 3, #ARGV, 2 do
  local lease = redis.call('HGET', LEASES, ARGV[i])
  if lease then
    local slot, work, owner = parse(lease)
    redis.call('HSET', LEASES, ARGV[i], slot .. ' ' .. ARGV[i + 1] .. ' ' .. owner)
    redis.call('HINCRBY', LOAD, slot, int(tonumber(ARGV[i + 1]) - tonumber(work)))
  end
end
tell(tonumber(ARGV[1]), ARGV[2])
return redis.status_reply('OK')
