-- Multiplies votes into the learned scales of one backend, notes which rules its requests came under, tells both.
-- KEYS[1] gw:{backend}:scales   hash: model -> the scale of its learned limit
-- KEYS[2] gw:{backend}:rules    sorted set: "rule model" -> ms at which a request last came under it
-- ARGV[1] now, ms (0: the store's)   [2] ms for which a rule is remembered   [3] number of models voted on
-- then for each: model, factor, the floor and the ceiling of these votes, lowest, highest, scale as last seen
--   Votes of several replicas meet here: none of them pushes the scale below its floor or above its ceiling, so that
--   one burst seen by all is one halving. The scale as last seen holds where the store has lost it.
-- then "rule model" for each rule met since the last call
-- Returns {{model, scale, ...}, {"rule model", ...}}
local VOTE = 7 -- arguments for each model
local KEEP_MS = 604800000 -- kept while any replica asks, and for a week after

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local first = 4
for i = first, first + tonumber(ARGV[3]) * VOTE - 1, VOTE do
  local factor, floor, ceiling = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local old = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '') or tonumber(ARGV[i + 6])
  local new = old * factor
  if factor < 1 then
    new = math.max(new, math.min(old, floor))
  else
    new = math.min(new, math.max(old, ceiling))
  end
  new = math.min(tonumber(ARGV[i + 5]), math.max(tonumber(ARGV[i + 4]), new))
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.17g', new))
  first = i + VOTE
end
for i = first, #ARGV do
  redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[i])
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now - tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], KEEP_MS)
redis.call('PEXPIRE', KEYS[2], KEEP_MS)
return { redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1) }
