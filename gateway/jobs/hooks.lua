-- Messages that are due, taken by whoever asks: for so long nobody else gets them.
-- KEYS[1] gw:{jobs}:hooks        sorted set: job -> second at which its message is due, by the store's clock
-- KEYS[2] gw:{jobs}:hooks:tries  hash: job -> how often it was tried
-- ARGV[1] seconds that a try may take   ARGV[2] how many at most
-- Returns {job, number of this try, ...}.
local clock = redis.call('TIME')
local now = tonumber(clock[1])
local taken = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), job)
  taken[#taken + 1] = job
  taken[#taken + 1] = redis.call('HINCRBY', KEYS[2], job, 1)
end
return taken
