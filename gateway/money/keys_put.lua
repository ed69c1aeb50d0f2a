-- Writes one key, where nobody else changed it since its writer looked, and tells all replicas.
-- KEYS[1] gw:{keys}:issued    hash: id -> what it is, sealed
-- KEYS[2] gw:{keys}:changes   sorted set: id -> number of its last change
-- KEYS[3] gw:{keys}:state     hash: `epoch`, `number` of the last change
-- ARGV[1] id   ARGV[2] what its writer saw there, '' for nothing   ARGV[3] what it is now, '' to take it out
-- ARGV[4] the channel on which replicas hear of it
-- Returns 1; 0 where somebody else came first
local seen = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if seen ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
-- What can fail over what lies there comes first, so that nothing is half written; a look mends it.
redis.call('ZADD', KEYS[2], redis.call('HINCRBY', KEYS[3], 'number', 1), ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
