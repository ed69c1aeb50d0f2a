-- Put behind lib.lua by those who know of waiting replicas.
-- KEYS[6] gw:{backend}:waits    zset: owner -> ms (the store's clock) until which requests of it wait here
local WAITS = KEYS[6]
local ROOM = 'gw:room:' -- and an owner: the channel on which it hears the names of backends that may have room

local function forget_stale_waits()
  redis.call('ZREMRANGEBYSCORE', WAITS, '-inf', int(clock('0')))
end

-- `places` came free: as many of the replicas that wait, `owner` excepted, are told, each at most once and by lot.
local function tell(places, owner)
  if places == 0 or redis.call('EXISTS', WAITS) == 0 then
    return
  end
  forget_stale_waits()
  local others = {}
  for _, name in ipairs(redis.call('ZRANGE', WAITS, 0, -1)) do
    if name ~= owner then
      others[#others + 1] = name
    end
  end
  if #others == 0 then
    return
  end
  local first = tonumber(redis.call('TIME')[2]) % #others -- scripts have no chance of their own
  for i = 0, math.min(places, #others) - 1 do
    -- pcall: a user without the right to the channel must not lose what the script did before
    redis.pcall('PUBLISH', ROOM .. others[(first + i) % #others + 1], string.match(WAITS, '{(.*)}'))
  end
end
