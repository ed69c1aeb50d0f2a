-- Receipts from the newest to the oldest, a page at a time, out of the two lists that file them.
-- KEYS[1] gw:{receipts}:data   KEYS[2] gw:{receipts}:plain   KEYS[3] gw:{receipts}:kept   (as in receipts.lua)
-- ARGV[1] how many at most   ARGV[2] second: older than it, or ''   ARGV[3] and ARGV[4] how many of that second are left
-- in `plain` and in `kept`, counted from its first: '0' or where an earlier page ended
-- Returns {second, left in plain, left in kept} from where this page goes on, the same of the next one (empty: there is
-- none), then for each receipt its second and its value.
local MOST = tonumber(ARGV[1])
local LISTS = {KEYS[2], KEYS[3]}

local function second_of(entry)
  return tonumber(string.match(entry, '(%d+)$'))
end

-- How many entries of a list are older than `second`: they lie in the order in which they were filed.
local function before(list, second)
  local low, high = 0, redis.call('LLEN', list)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = redis.call('LINDEX', list, middle)
    if entry and second_of(entry) < second then low = middle + 1 else high = middle end
  end
  return low
end

local left, tails, at = {}, {}, {}
for i, list in ipairs(LISTS) do
  if ARGV[2] == '' then
    left[i] = redis.call('LLEN', list)
  else
    left[i] = math.min(before(list, tonumber(ARGV[2])) + tonumber(ARGV[i + 2]), redis.call('LLEN', list))
  end
  tails[i] = left[i] > 0 and redis.call('LRANGE', list, math.max(0, left[i] - MOST), left[i] - 1) or {}
  at[i] = #tails[i]
end

local ids, seconds, from = {}, {}, {left[1], left[2]}
while #ids < MOST and (at[1] > 0 or at[2] > 0) do
  local plain = at[1] > 0 and second_of(tails[1][at[1]]) or -1
  local kept = at[2] > 0 and second_of(tails[2][at[2]]) or -1
  local i = kept >= plain and 2 or 1
  ids[#ids + 1] = string.match(tails[i][at[i]], '^%S+')
  seconds[#seconds + 1] = math.max(plain, kept)
  at[i] = at[i] - 1
  left[i] = left[i] - 1
end
if #ids == 0 then return {{}, {}} end

local function place(second, plain, kept)
  return {second, plain - before(KEYS[2], second), kept - before(KEYS[3], second)}
end

local more = (left[1] > 0 or left[2] > 0) and place(seconds[#seconds], left[1], left[2])
local answer = {place(seconds[1], from[1], from[2]), more or {}}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
  answer[#answer + 1] = seconds[i]
  answer[#answer + 1] = value or ''
end
return answer
