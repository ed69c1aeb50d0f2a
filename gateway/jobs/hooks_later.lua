-- Says when a message is to be tried next. One that is no longer there was taken meanwhile.
-- KEYS[1] gw:{jobs}:hooks   ARGV[1] job   ARGV[2] seconds from now, by the store's clock
return redis.call('ZADD', KEYS[1], 'XX', tonumber(redis.call('TIME')[1]) + tonumber(ARGV[2]), ARGV[1])
