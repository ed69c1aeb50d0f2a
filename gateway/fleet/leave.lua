-- A registered worker leaves.
-- KEYS[1] gw:{roster}:registered  hash: name -> "expires_ms ticket places json"
-- KEYS[2] gw:{roster}:places      hash: "address:port" -> the name registered for it
-- ARGV[1] name   [2] digest of its ticket, or "*": whoever asks may do so
-- Returns 1: it has left · 0: there is none of that name · -1: this is not its ticket
local row = redis.call('HGET', KEYS[1], ARGV[1])
if not row then
  return 0
end
local ticket, places = string.match(row, '^%d+ (%S+) (%S+) ')
if ARGV[2] ~= '*' and ARGV[2] ~= ticket then
  return -1
end
redis.call('HDEL', KEYS[1], ARGV[1])
for place in string.gmatch(places, '[^,]+') do
  if redis.call('HGET', KEYS[2], place) == ARGV[1] then
    redis.call('HDEL', KEYS[2], place)
  end
end
return 1
