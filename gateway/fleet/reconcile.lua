-- Write-back: makes the store hold exactly the leases that one owner holds, and works the sums out anew.
-- KEYS as in lib.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh   [4] the first lease number not made yet
-- ARGV[5] number of leases still being acquired, then their ids, then for each live lease: id, slot, work
-- Leases still being acquired, and those made after the list was, are left as they are. Returns what beat does.
local owner, horizon, unsettled = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST, WIDTH = 6, 3
local now = clock(ARGV[2])

sweep(now, owner)
local known = redis.call('ZSCORE', BEATS, owner)
redis.call('ZADD', BEATS, int(now), owner)
local waits = recovering(now, ARGV[3])

local left_alone = {}
for i = FIRST, FIRST + unsettled - 1 do
  left_alone[ARGV[i]] = true
end
local wanted = {}
for i = FIRST + unsettled, #ARGV, WIDTH do
  wanted[ARGV[i]] = ARGV[i + 1] .. ' ' .. ARGV[i + 2] .. ' ' .. owner
end

local load, count = {}, {}
local function sum(lease)
  local slot, work = parse(lease)
  load[slot] = (load[slot] or 0) + tonumber(work)
  count[slot] = (count[slot] or 0) + 1
end

local alive = {}
for _, name in ipairs(redis.call('ZRANGE', BEATS, 0, -1)) do
  alive[name] = true
end
local leases = redis.call('HGETALL', LEASES)
for i = 1, #leases, 2 do
  local id, lease = leases[i], leases[i + 1]
  local _, _, holder = parse(lease)
  local stale = holder == owner
    and wanted[id] ~= lease
    and not left_alone[id]
    and tonumber(string.match(id, '(%d+)$')) < horizon
  if stale or not alive[holder] then
    redis.call('HDEL', LEASES, id)
  else
    wanted[id] = nil
    sum(lease)
  end
end
for id, lease in pairs(wanted) do
  redis.call('HSET', LEASES, id, lease)
  sum(lease)
end

redis.call('DEL', LOAD, COUNT)
for slot, work in pairs(load) do
  redis.call('HSET', LOAD, slot, int(work))
  redis.call('HSET', COUNT, slot, count[slot])
end
keep()
return { flag(known), flag(waits), redis.call('ZCARD', BEATS) }
