-- Tells how this replica is, and forgets those that have not told for a while.
-- KEYS[1] gw:{policy}:replicas   hash: owner -> `ms|state`
-- KEYS[2] gw:{policy}:order      string: the order that holds, sealed
-- ARGV[1] owner   ARGV[2] its state   ARGV[3] ms after which a silent replica is forgotten
-- Returns the order, or nil
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now) .. '|' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local at = tonumber(string.match(rows[i + 1], '^(%d+)|') or 0)
  if at < now - tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], rows[i]) end
end
return redis.call('GET', KEYS[2])
