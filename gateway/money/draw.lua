-- A request, or a replica ahead of its requests, wants something of several quotas: all of it or nothing.
-- KEYS as in till.lua, then gw:{money}:quota:{name} of each.
-- ARGV[4] number of this draw   ARGV[5] the last batch made   ARGV[6] attempt, '' for none   ARGV[7] its row
-- ARGV[8] 1: ask the others for what they hold and do not use, where that is missing
-- ARGV[9..] for each quota: unit, per, cap, hard (1, 0), what the request needs of it, the period in which the owner
--   has some already, how much of that is for this request, how much else it has at hand
-- Returns {status, ms of the store's clock, index from 1 of the quota that is short or 0, whether others hold as much as is missing,
--   whether all that is missing is only set aside, not used}, then for each quota: period, ms at which it ends (0: never), granted, what is left after that, most that may lie in a
--   slice. What a request has in a period that is over does not count: it is granted anew.
local FIRST, WIDTH, FIRST_KEY = 9, 8, 6
local HEAD, EACH = 5, 5 -- of what it returns
local PART = 100 -- a slice is at most one in so many of what is left
local KEPT = { minute = 10, day = 8, month = 3, total = 1 } -- periods: the clock may be set back by so many
local SECONDS = { minute = 3600, day = 86400 * 40, month = 86400 * 400 } -- after which counters without a draw go

local status = standing()
if status ~= OK then return { status, now, 0, 0, 0 } end
if overtaken(ARGV[5]) or tonumber(ARGV[4]) <= tonumber(redis.call('HGET', SLICES, '#draw') or 0) then
  return { REPEATED, now, 0, 0, 0 }
end
redis.call('HSET', SLICES, '#draw', ARGV[4])
beat()

-- The first look into a new period takes the oldest ones away.
local function begin(key, per, period)
  if redis.call('HSETNX', key, period .. ':held', 0) == 0 then return end
  redis.call('HSETNX', key, period .. ':used', 0) -- one may be settled in a period that a flush took
  local names = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local name = string.match(field, '^(.*):used$')
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  for i = 1, #names - KEPT[per] do
    if names[i] ~= period then
      redis.call('HDEL', key, names[i] .. ':used', names[i] .. ':held', names[i] .. ':lost')
    end
  end
end

local function ask_others(account)
  for _, owner in ipairs(redis.call('ZRANGE', OWNERS, 0, -1)) do
    if owner ~= ARGV[2] and redis.call('HEXISTS', 'gw:{money}:slices:' .. owner, account) == 1 then
      redis.call('PUBLISH', 'gw:room:' .. string.match(owner, '^(.*)%.%d+$'), 'money ' .. account)
    end
  end
end

local reply = { OK, now, 0, 0, 0 }
local grants, lines = {}, {}
for key = FIRST_KEY, #KEYS do
  local at = FIRST + (key - FIRST_KEY) * WIDTH
  local unit, per, cap, hard = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3] == '1'
  local need, mine, free = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local period, resets = period_of(per)
  if ARGV[at + 5] ~= period then mine, free = 0, 0 end
  begin(KEYS[key], per, period)
  if SECONDS[per] then redis.call('EXPIRE', KEYS[key], SECONDS[per]) end
  local account = period .. ' ' .. unit .. ' ' .. string.sub(KEYS[key], #QUOTA + 1)
  local counts = redis.call('HMGET', KEYS[key], period .. ':used', period .. ':held')
  local left = cap - tonumber(counts[1]) - tonumber(counts[2])
  local most = math.max(0, math.floor((hard and left + free or cap) / PART))
  local lacks = need - mine
  local grant = lacks + math.max(0, most - free - lacks)
  if hard then grant = math.min(grant, math.max(lacks, left)) end
  if hard and lacks > left and reply[1] == OK and need > 0 then
    local own = tonumber(redis.call('HGET', SLICES, account) or 0)
    reply[1], reply[3] = SHORT, key - FIRST_KEY + 1
    reply[4] = tonumber(counts[2]) - own >= lacks - left and 1 or 0
    reply[5] = cap - tonumber(counts[1]) >= need and 1 or 0
    if ARGV[8] == '1' and reply[4] == 1 then ask_others(account) end
  end
  grants[#grants + 1] = { account, math.max(0, grant) }
  lines[#lines + 1] = account .. '\t' .. int(need)
  for _, value in ipairs({ period, resets, math.max(0, grant), left - math.max(0, grant), most }) do
    reply[#reply + 1] = value
  end
end
if reply[1] ~= OK then
  for i = 1, #grants do
    local at = HEAD + (i - 1) * EACH
    reply[at + 4] = reply[at + 4] + grants[i][2]
    reply[at + 3] = 0
  end
  return reply
end
for _, grant in ipairs(grants) do
  if grant[2] > 0 then hold(SLICES, grant[1], grant[2]) end
end
if ARGV[6] ~= '' then
  redis.call('HSET', OPEN, ARGV[6], table.concat(lines, '\n') .. '\n\n' .. ARGV[7])
end
return reply
