-- Keeps what the agent of one host told last.
-- KEYS[1] gw:{agents}:hosts   sorted set: host -> ms of its last heartbeat
-- KEYS[2] gw:{agents}:told    hash: host -> "ms|json"
-- ARGV[1] host      ARGV[2] the heartbeat as JSON      ARGV[3] ms that it holds      ARGV[4] hosts there may be
-- Returns 0 where there are that many already.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, host in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[3]))) do
  redis.call('ZREM', KEYS[1], host)
  redis.call('HDEL', KEYS[2], host)
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], string.format('%d|%s', now, ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
