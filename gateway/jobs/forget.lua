-- Records of jobs that are over go. KEYS and ARGV[1] as in jobs.lua. ARGV[2..] ids
-- Returns how many there were.
local gone = 0
for at = 2, #ARGV do
  local id = ARGV[at]
  local state, tenant = unpack(redis.call('HMGET', JOB .. id, 'state', 'tenant'))
  if not state then
    redis.call('ZREM', ENDED, id)
    redis.call('ZREM', UNKNOWN, id)
  elseif OVER[state] then
    redis.call('DEL', JOB .. id)
    redis.call('ZREM', OF .. tenant, id)
    redis.call('ZREM', ENDED, id)
    redis.call('ZREM', UNKNOWN, id)
    gone = gone + 1
  end
end
return gone
