-- Gives an order: replaces the one that its writer saw, and stores what it names.
-- KEYS[1] gw:{policy}:order      string: the order that holds, sealed
-- KEYS[2] gw:{policy}:versions   hash: version -> its files, sealed
-- KEYS[3] gw:{policy}:ages       sorted set: version -> number of the last order that named it
-- ARGV[1] what KEYS[1] held when the writer looked, '' for nothing   ARGV[2] the new order   ARGV[3] its number
-- ARGV[4] versions to keep   ARGV[5...] pairs of version and content, '' where only its age changes
-- Returns 1, or 0 where somebody else came first: nothing has changed then
local seen = redis.call('GET', KEYS[1]) or ''
if seen ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
  redis.call('ZADD', KEYS[3], ARGV[3], ARGV[i])
end
local old = redis.call('ZRANGE', KEYS[3], 0, -1 - tonumber(ARGV[4]))
for _, version in ipairs(old) do
  redis.call('HDEL', KEYS[2], version)
  redis.call('ZREM', KEYS[3], version)
end
return 1
