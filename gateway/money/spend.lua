-- One request asks to leave: within its rule's share of the last minutes and its budget of the last hour, or not at all.
-- KEYS[1] gw:budget:{rule}   hash: minute since the epoch -> micro-USD spent or reserved in it
-- KEYS[2] gw:share:{rule}    hash: `a` or `l` and a minute -> requests that arrived, or left, in it
-- ARGV[1] micro-USD to book (negative gives back)   ARGV[2] cap in micro-USD, -1: no question of money
-- ARGV[3] requests that leave by this (1, 0; -1 gives back)   ARGV[4] the share that may leave, -1: no question of shares
-- ARGV[5] requests that arrived at the caller since it last told
-- ARGV[6] minute to book in, 0 for now   ARGV[7] epoch seconds, 0 for the store's clock (tests give theirs)
-- Returns {word, minute booked, requests that left, that arrived, micro-USD of the hour before this call (0 without a
--   cap)}, the two counts in the window and with this call; word: "" granted, "share" or "budget" refused. Arrivals count
--   either way.
local BUDGET, SHARE = KEYS[1], KEYS[2]
local HOUR = 61 -- whole minutes that hold every instant of the last hour
local WINDOW = 5 -- this minute and the four before it
local FEWEST = 10 -- a window of fewer arrivals counts as one of so many: else nobody could be the first to leave
local ROUNDING = 1e-9 -- 0.29 * 100 is a little less than 29
local EXPIRY_SECONDS = 7200

local now = tonumber(ARGV[7])
if now == 0 then now = tonumber(redis.call('TIME')[1]) end
local minute = math.floor(now / 60)
local at = tonumber(ARGV[6])
if at == 0 then at = minute end

-- The sum over the fields of `key` that begin with `letter` in the last `buckets` minutes; older ones go.
local function sum(key, letter, buckets)
  local total, rows = 0, redis.call('HGETALL', key)
  for i = 1, #rows, 2 do
    local kind, when = string.match(rows[i], '^(%a?)(%d+)$')
    if not when or tonumber(when) <= minute - buckets then
      redis.call('HDEL', key, rows[i])
    elseif kind == letter then
      total = total + tonumber(rows[i + 1])
    end
  end
  return total
end

local function book(key, letter, when, amount, buckets)
  if amount ~= 0 and when > minute - buckets then
    redis.call('HINCRBY', key, letter .. string.format('%d', when), string.format('%d', amount))
    redis.call('EXPIRE', key, EXPIRY_SECONDS)
  end
end

book(SHARE, 'a', minute, tonumber(ARGV[5]), WINDOW)
local amount, cap, leaving, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local left, arrived = sum(SHARE, 'l', WINDOW), sum(SHARE, 'a', WINDOW)
local spent = cap >= 0 and sum(BUDGET, '', HOUR) or 0
if most >= 0 and left + leaving > most * math.max(arrived, FEWEST) + ROUNDING then
  return { 'share', at, left, arrived, spent }
end
if cap >= 0 and spent + amount > cap then
  return { 'budget', at, left, arrived, spent }
end
book(BUDGET, '', at, amount, HOUR)
book(SHARE, 'l', at, leaving, WINDOW)
return { '', at, left + leaving, arrived, spent }
