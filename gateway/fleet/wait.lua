-- Says that requests of one replica wait at a backend, or that none do any more. KEYS as in waits.lua.
-- ARGV[1] owner   [2] for how long, ms; 0: no more
if tonumber(ARGV[2]) == 0 then
  redis.call('ZREM', WAITS, ARGV[1])
else
  redis.call('ZADD', WAITS, int(clock('0') + tonumber(ARGV[2])), ARGV[1])
  redis.call('PEXPIRE', WAITS, ARGV[2])
end
return redis.status_reply('OK')
