-- A worker registers itself, or says that it is still there.
-- KEYS[1] gw:{roster}:registered  hash: name -> "expires_ms ticket places json"
-- KEYS[2] gw:{roster}:places      hash: "address:port" -> the name registered for it
-- ARGV[1] name   [2] ttl, ms   [3] digest of the ticket that its caller gave ("-": none)   [4] digest of a new one
-- ARGV[5] json   [6] how many there may be   [7..] places
-- Returns {"new"}: ticket 4 is its own from now on (3, where it gave one) · {"again"}: it is still there ·
--   {"moved"}: and says something else than before · {"name"} or {"place", name}: another worker is called so, or is there · {"full"}
-- Who renews without its ticket must say exactly what is there already, and can only make it last longer: a worker
-- cannot be led elsewhere, or cut short, by somebody else.
local REGISTERED, PLACES = KEYS[1], KEYS[2]
local NONE, FIRST = '-', 7
local name, ticket = ARGV[1], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local places = table.concat(ARGV, ',', FIRST)

local function held(by)
  local row = by and redis.call('HGET', REGISTERED, by)
  if not row then
    return nil
  end
  local expires, its_ticket, its_places, its_json = string.match(row, '^(%d+) (%S+) (%S+) (.*)$')
  if now >= tonumber(expires) then
    return nil
  end
  return its_ticket, its_places, its_json, tonumber(expires)
end

local expires = now + tonumber(ARGV[2])
local own, before, json, lasts = held(name)
if own and ticket ~= own then
  if ticket ~= NONE or places ~= before or json ~= ARGV[5] then
    return { 'name' }
  end
  expires = math.max(expires, lasts)
end
for i = FIRST, #ARGV do
  local holder = redis.call('HGET', PLACES, ARGV[i])
  if holder and holder ~= name and held(holder) then
    return { 'place', holder }
  end
end
if not own and redis.call('HLEN', REGISTERED) >= tonumber(ARGV[6]) then
  return { 'full' }
end

for place in string.gmatch(before or '', '[^,]+') do
  redis.call('HDEL', PLACES, place)
end
for i = FIRST, #ARGV do
  redis.call('HSET', PLACES, ARGV[i], name)
end
local kept = own or (ticket ~= NONE and ticket) or ARGV[4]
redis.call('HSET', REGISTERED, name, string.format('%.0f', expires) .. ' ' .. kept .. ' ' .. places .. ' ' .. ARGV[5])
if not own then
  return { 'new' }
end
return { places == before and json == ARGV[5] and 'again' or 'moved' }
