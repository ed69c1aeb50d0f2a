-- Put in front of acquire, release, resize, beat, look, wait and reconcile.
-- KEYS[1] gw:{backend}:leases   hash: lease id ("owner:n") -> "slot work owner"; the truth
-- KEYS[2] gw:{backend}:load     hash: slot -> sum of the work leased on it, GPU-us
-- KEYS[3] gw:{backend}:count    hash: slot -> number of leases on it
-- KEYS[4] gw:{backend}:beats    zset: owner -> ms of its last beat
-- KEYS[5] gw:{backend}:epoch    string: ms at which this set of keys began
-- A slot is one life of one upstream, "name@life". KEYS[2] and [3] are changed only together with KEYS[1].
--
-- After a flush the epoch is missing. The first script that sees it sets it, and for RECOVERY_MS nothing is granted:
-- each replica beats at least every second, learns that it is unknown, and writes its live leases back. Only a replica
-- whose process started this very store on an empty folder says `fresh` in its first call: nobody can hold leases then.
local LEASES, LOAD, COUNT, BEATS, EPOCH = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local EXPIRY_MS = 4000 -- an owner without a beat for longer than this is dead, and its leases with it
local RECOVERY_MS = 2000 -- two beats: the time for every replica to write back after a flush
local QUIET_MS = 2000 -- two beats: some owner has beaten since, or the clock was set, or the store stood still
local KEEP_MS = 86400000 -- keys of a backend that nobody beats on any more go after a day

-- Tests pass the time; 0 means the store's own clock.
local function clock(given)
  local now = tonumber(given)
  if now > 0 then
    return now
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua's own conversion keeps 14 digits; work and times may have more.
local function int(number)
  return string.format('%.0f', number)
end

-- "slot work owner" -> slot, work, owner, as strings
local function parse(lease)
  return string.match(lease, '^(.*) (%d+) (%S+)$')
end

local function add(id, slot, work, owner)
  if redis.call('HSETNX', LEASES, id, slot .. ' ' .. int(work) .. ' ' .. owner) == 0 then
    return false
  end
  redis.call('HINCRBY', LOAD, slot, int(work))
  redis.call('HINCRBY', COUNT, slot, 1)
  return true
end

-- A slot's last lease takes the slot with it, so that old lives leave nothing behind.
local function drop(id)
  local lease = redis.call('HGET', LEASES, id)
  if not lease then
    return
  end
  local slot, work = parse(lease)
  redis.call('HDEL', LEASES, id)
  if redis.call('HINCRBY', COUNT, slot, -1) > 0 then
    redis.call('HINCRBY', LOAD, slot, '-' .. work)
  else
    redis.call('HDEL', COUNT, slot)
    redis.call('HDEL', LOAD, slot)
  end
end

-- Whether the beats are no measure of who lives: all lie ahead of the clock, or nobody has beaten for long although this
-- owner, who did before, is calling now.
local function clock_was_set(now, owner)
  local newest = tonumber(redis.call('ZRANGE', BEATS, -1, -1, 'WITHSCORES')[2])
  if not newest then
    return false
  end
  return newest > now + QUIET_MS or (newest < now - QUIET_MS and redis.call('ZSCORE', BEATS, owner))
end

-- Removes owners that stopped beating, and their leases. Where the beats cannot tell, all go as in a flush: who lives
-- writes back, and nothing is granted meanwhile.
local function sweep(now, owner)
  local latest = '(' .. int(now - EXPIRY_MS)
  if clock_was_set(now, owner) then
    redis.call('SET', EPOCH, int(now))
    latest = '+inf'
  end
  local owners = redis.call('ZRANGEBYSCORE', BEATS, '-inf', latest)
  if #owners == 0 then
    return
  end
  local dead = {}
  for _, owner in ipairs(owners) do
    dead[owner] = true
    redis.call('ZREM', BEATS, owner)
  end
  local leases = redis.call('HGETALL', LEASES)
  for i = 1, #leases, 2 do
    local _, _, owner = parse(leases[i + 1])
    if dead[owner] then
      drop(leases[i])
    end
  end
end

-- True while replicas may still have leases to write back. `fresh` is '1' where there can be none.
local function recovering(now, fresh)
  local epoch = tonumber(redis.call('GET', EPOCH))
  if not epoch or epoch > now then -- ahead of a clock that was set back, it would hold until that has caught up
    epoch = fresh == '1' and now - RECOVERY_MS or now
    redis.call('SET', EPOCH, int(epoch))
  end
  return now - epoch < RECOVERY_MS
end

local function keep()
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, KEEP_MS)
  end
end

local function flag(condition)
  return condition and 1 or 0
end
