-- Multiplies votes into the learned scales of one backend, notes which rules its requests came under, tells both.
-- KEYS[1] gw:{backend}:scales   hash: model -> the scale of its learned limit
-- KEYS[2] gw:{backend}:rules    sorted set: "rule model" -> ms at which a request last came under it
-- ARGV[1] now, ms (0: the store's)   [2] ms for which a rule is remembered   [3] number of models voted on
-- then for each: model, factor, lowest, highest, scale as last seen (holds where the store has lost it)
-- then "rule model" for each rule met since the last call
-- Returns {{model, scale, ...}, {"rule model", ...}}
local VOTE = 5 -- arguments for each model
local KEEP_MS = 604800000 -- a scale nobody has asked for in a week is forgotten

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local first = 4
for i = first, first + tonumber(ARGV[3]) * VOTE - 1, VOTE do
  local scale = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or ARGV[i + 4]) * tonumber(ARGV[i + 1])
  scale = math.min(tonumber(ARGV[i + 3]), math.max(tonumber(ARGV[i + 2]), scale))
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.17g', scale))
  first = i + VOTE
end
for i = first, #ARGV do
  redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[i])
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], KEEP_MS)
redis.call('PEXPIRE', KEYS[2], KEEP_MS)
return { redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1) }
