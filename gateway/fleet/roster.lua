-- One look at the roster: who is registered, who is drained, since when the found workers are there.
-- KEYS[1] gw:{roster}:registered  hash: name -> "expires_ms ticket places json": workers that registered themselves
-- KEYS[2] gw:{roster}:places      hash: "address:port" -> the name registered for it
-- KEYS[3] gw:{roster}:joined      hash: name -> ms at which a found worker was first seen
-- KEYS[4] gw:{roster}:seen        zset: name -> ms at which a replica last had it among its found workers
-- KEYS[5] gw:{roster}:drained     hash: name -> "ms reason": takes nothing new
-- KEYS[6] gw:{roster}:epoch       string: the moment at which this set of keys began
-- KEYS[7] gw:{roster}:looked      string: ms of the last look by anybody
-- ARGV[1] GONE_MS   [2] FORGET_MS   [3] how many names follow: drained ones that the policy writes down
--   then for each found worker of the caller: name, ms at which it joined (0: not known)
-- Returns {now, epoch, registered, drained, {ms at which each of the caller's workers joined, ...}}
-- Not seen for GONE_MS: it has left, and joins anew unless its caller, which has kept it, says since when it is there.
-- Not seen for FORGET_MS: nothing is remembered of it, that it was drained neither. What the policy writes down does not
-- stay in KEYS[4], and so stays drained. Time in which nobody looked for GONE_MS does not count: nobody can tell who left.
local REGISTERED, PLACES, JOINED, SEEN, DRAINED, EPOCH = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local LOOKED = KEYS[7]
local MOST_AT_ONCE, WRITTEN = 1000, 3
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function int(number)
  return string.format('%.0f', number)
end

local rows = redis.call('HGETALL', REGISTERED)
local live = {}
for i = 1, #rows, 2 do
  local expires, _, places = string.match(rows[i + 1], '^(%d+) (%S+) (%S+) ')
  if now >= tonumber(expires) then
    redis.call('HDEL', REGISTERED, rows[i])
    for place in string.gmatch(places, '[^,]+') do
      if redis.call('HGET', PLACES, place) == rows[i] then
        redis.call('HDEL', PLACES, place)
      end
    end
  else
    live[#live + 1] = rows[i]
    live[#live + 1] = rows[i + 1]
  end
end

local unwatched = now - tonumber(redis.call('GET', LOOKED) or now)
if unwatched > tonumber(ARGV[1]) then
  for _, name in ipairs(redis.call('ZRANGE', SEEN, 0, -1)) do
    redis.call('ZINCRBY', SEEN, int(unwatched), name)
  end
end
redis.call('SET', LOOKED, int(now))

local first = WRITTEN + 1 + tonumber(ARGV[WRITTEN])
for i = WRITTEN + 1, first - 1 do
  redis.call('ZREM', SEEN, ARGV[i])
  redis.call('HDEL', JOINED, ARGV[i])
end

local joined = {}
for i = first, #ARGV, 2 do
  local name, known = ARGV[i], tonumber(ARGV[i + 1])
  local seen, since = redis.call('ZSCORE', SEEN, name), redis.call('HGET', JOINED, name)
  if not since or not seen or tonumber(seen) < now - tonumber(ARGV[1]) or tonumber(seen) > now then
    since = int(known > 0 and known or now)
    redis.call('HSET', JOINED, name, since)
  end
  redis.call('ZADD', SEEN, int(now), name)
  joined[#joined + 1] = since
end

local gone = redis.call('ZRANGEBYSCORE', SEEN, '-inf', int(now - tonumber(ARGV[2])), 'LIMIT', 0, MOST_AT_ONCE)
for _, name in ipairs(gone) do
  redis.call('ZREM', SEEN, name)
  redis.call('HDEL', JOINED, name)
  redis.call('HDEL', DRAINED, name)
end

redis.call('SET', EPOCH, time[1] .. '.' .. time[2], 'NX')
return { now, redis.call('GET', EPOCH), live, redis.call('HGETALL', DRAINED), joined }
