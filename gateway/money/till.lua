-- Put in front of join, beat, draw, opened, settle and leave: what they know of owners, quotas and periods.
-- KEYS[1] gw:{money}:owners          zset: owner -> ms of its last word
-- KEYS[2] gw:{money}:epoch           string: the owner that began this set of keys; another one means flushed
-- KEYS[3] gw:{money}:slices:{owner}  hash: account -> what this owner holds of it; `#batch` the last batch settled,
--                                    `#draw` the last draw seen
-- KEYS[4] gw:{money}:open:{owner}    hash: attempt -> a line "account<TAB>amount" for each quota, then its row
-- KEYS[5] gw:{money}:ledger          stream: rows on their way to the ledger, a field `row` each
-- ARGV[1] ms since the epoch, 0 for the store's clock (tests give theirs)   ARGV[2] owner   ARGV[3] the epoch it knows
-- An account is "period unit quota"; gw:{money}:quota:{name} is a hash with `period:used`, `period:held` and, of `used`,
-- `period:lost`: what was booked for the dead. `held` is the sum of what all owners hold, and changes only with that.
-- All keys carry one hash tag, so a script may also touch those that only the store can name: quotas of the dead.
local OWNERS, EPOCH, SLICES, OPEN, LEDGER = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local OK, REPEATED, SHORT, REAPED, FLUSHED = 1, 2, 0, -1, -2
local SILENT_MS = 5000 -- an owner that says nothing for longer is dead
local QUIET_MS = 2500 -- nobody was heard for so long although this owner lives: the store was away, or its clock was set
local QUOTA = 'gw:{money}:quota:'

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua's own conversion keeps 14 digits; micro-dollars have more.
local function int(number)
  return string.format('%.0f', number)
end

-- Calendar date of a number of days since 1970-01-01 (Gregorian, by the 400-year cycle that begins on 0000-03-01).
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - math.floor((153 * mp + 2) / 5) + 1
end

-- The period of `per` that holds this instant, in UTC: its name, and the ms at which it ends (0: never).
local function period_of(per)
  local second = math.floor(now / 1000)
  local days = math.floor(second / 86400)
  local year, month, day = civil(days)
  if per == 'minute' then
    local minute = math.floor(second / 60)
    local clock = string.format('T%02d:%02d', math.floor(minute / 60) % 24, minute % 60)
    return string.format('%04d-%02d-%02d', year, month, day) .. clock, (minute + 1) * 60000
  elseif per == 'day' then
    return string.format('%04d-%02d-%02d', year, month, day), (days + 1) * 86400000
  elseif per == 'month' then
    local next_days = days - day + 1
    repeat next_days = next_days + 1 until select(2, civil(next_days)) ~= month
    return string.format('%04d-%02d', year, month), next_days * 86400000
  end
  return 'total', 0
end

-- "period unit quota" -> its three parts
local function parse(account)
  return string.match(account, '^(%S+) (%S+) (.*)$')
end

-- Whether this owner may speak: OK, or what became of it.
local function standing()
  if redis.call('GET', EPOCH) ~= ARGV[3] then return FLUSHED end
  if not redis.call('ZSCORE', OWNERS, ARGV[2]) then return REAPED end
  return OK
end

-- Whether a batch has been settled that was made after `batch`: whoever knew of no later one has been overtaken, by
-- another connection; what it says may be about something that is over.
local function overtaken(batch)
  return tonumber(redis.call('HGET', SLICES, '#batch') or 0) > tonumber(batch)
end

-- This owner lives. Where the beats are no measure of who else does, all begin anew; one that calls for the first time
-- proves nothing about the others.
local function beat()
  local newest = tonumber(redis.call('ZRANGE', OWNERS, -1, -1, 'WITHSCORES')[2])
  if newest and math.abs(newest - now) > QUIET_MS and redis.call('ZSCORE', OWNERS, ARGV[2]) then
    for _, owner in ipairs(redis.call('ZRANGE', OWNERS, 0, -1)) do
      redis.call('ZADD', OWNERS, int(now), owner)
    end
  end
  redis.call('ZADD', OWNERS, int(now), ARGV[2])
end

-- An owner holds `amount` more (less) of an account; never less than nothing. Returns by how much it changed.
local function hold(slices, account, amount)
  local before = tonumber(redis.call('HGET', slices, account) or 0)
  local after = math.max(0, before + amount)
  if after == 0 then
    redis.call('HDEL', slices, account)
  else
    redis.call('HSET', slices, account, int(after))
  end
  local period, _, name = parse(account)
  if after ~= before and redis.call('HEXISTS', QUOTA .. name, period .. ':held') == 1 then
    redis.call('HINCRBY', QUOTA .. name, period .. ':held', int(after - before))
  end
  return after - before
end

local function use(account, amount, lost)
  local period, _, name = parse(account)
  if amount ~= 0 then
    redis.call('HINCRBY', QUOTA .. name, period .. ':used', int(amount))
    if lost then redis.call('HINCRBY', QUOTA .. name, period .. ':lost', int(amount)) end
  end
end
