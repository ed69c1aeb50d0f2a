-- Picks the best candidate that has room and takes the lease, in one step. KEYS as in lib.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh   [4] lease id   [5] leases this owner holds here
-- ARGV[6] load weight, then for each candidate: slot, static score with its lift, work, limit, seats, outside work
-- Returns {index from 1 or 0, known, recovering, leased work 1, count 1, leased work 2, count 2, ...}, as seen before.
--   known 0: the store has no beat of this owner; it writes back at once. If it holds leases, nothing is granted
--   before that, because they are missing from the sums.
-- The formula is that of routing/pickers.py:pick, on the same doubles in the same order; a test holds them equal.
local owner, id, holds, weight = ARGV[1], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local FIRST, WIDTH = 7, 6
local now = clock(ARGV[2])

sweep(now, owner)
local known = redis.call('ZSCORE', BEATS, owner)
if not known then
  redis.call('ZADD', BEATS, int(now), owner)
end
local waits = recovering(now, ARGV[3]) or (not known and holds > 0)

local slots = {}
for i = FIRST, #ARGV, WIDTH do
  slots[#slots + 1] = ARGV[i]
end
if #slots == 0 then
  return { 0, flag(known), flag(waits) }
end
local loads = redis.call('HMGET', LOAD, unpack(slots))
local counts = redis.call('HMGET', COUNT, unpack(slots))

local reply = { 0, flag(known), flag(waits) }
local best, best_score, best_work = 0, nil, nil
for i = 1, #slots do
  local at = FIRST + (i - 1) * WIDTH
  local score, limit, seats = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local work, outside = math.min(tonumber(ARGV[at + 2]), limit), tonumber(ARGV[at + 5])
  local leased, count = tonumber(loads[i] or 0), tonumber(counts[i] or 0)
  local full = leased + outside + work
  if limit > 0 and full <= limit and count < seats then
    local final = score + weight * (1 - full / limit)
    if not best_score or final > best_score then
      best, best_score, best_work = i, final, work
    end
  end
  reply[#reply + 1] = leased
  reply[#reply + 1] = count
end

if best > 0 and not waits and add(id, slots[best], best_work, owner) then
  reply[1] = best
end
return reply
