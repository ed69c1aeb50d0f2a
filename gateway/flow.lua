-- Adds what one replica has counted to one minute of the flow.
-- KEYS[1] gw:{flow}:MINUTE   hash: "rule word" -> count; "#owner" -> the last batch that was added for it
-- ARGV[1] owner   ARGV[2] number of the batch, rising   ARGV[3] seconds that the minute is kept   then field, count, ...
-- A batch comes again where the answer to it was lost: it is added once. Returns 1 if it was added now.
local SEEN = '#' .. ARGV[1]
if tonumber(redis.call('HGET', KEYS[1], SEEN) or '0') >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], SEEN, ARGV[2])
for place = 4, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1])
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
