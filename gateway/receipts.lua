-- Files a batch of receipts under a byte cap. All keys share a hash tag.
-- KEYS[1] gw:{receipts}:data    hash: id -> tenant "\n" receipt JSON
-- KEYS[2] gw:{receipts}:plain   list of "id size second": plain local ones, the first to go
-- KEYS[3] gw:{receipts}:kept    list of "id size second": refused, spilled, failed and flagged ones
-- KEYS[4] gw:{receipts}:bytes   integer: bytes held
-- ARGV[1] byte cap   ARGV[2] longest life in seconds   then (id, "plain" or "kept", value) for each receipt
-- A receipt that is here already is left alone: a batch comes again where the answer to its first filing was lost.
-- Returns how many were removed.
local EXPIRED_PER_CALL = 1000
local AT_ONCE = 1000  -- arguments of one command; unpack() takes a few thousand

local now = tonumber(redis.call('TIME')[1])
local cap, life = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = tonumber(redis.call('GET', KEYS[4]) or '0')

local gone = {}
local function drop_oldest(list)
  local head = redis.call('LPOP', list)
  if not head then return false end
  local id, size = string.match(head, '^(%S+) (%d+)')
  gone[#gone + 1] = id
  held = held - tonumber(size)
  return true
end

local filed = {plain = {}, kept = {}}
for i = 3, #ARGV, 3 do
  local id, kind, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HSETNX', KEYS[1], id, value) == 1 then
    local size = #id + #value
    table.insert(filed[kind], id .. ' ' .. size .. ' ' .. now)
    held = held + size
  end
end
if #filed.plain > 0 then redis.call('RPUSH', KEYS[2], unpack(filed.plain)) end
if #filed.kept > 0 then redis.call('RPUSH', KEYS[3], unpack(filed.kept)) end

for _, list in ipairs({KEYS[2], KEYS[3]}) do
  for _ = 1, EXPIRED_PER_CALL do
    local head = redis.call('LINDEX', list, 0)
    if not head or now - tonumber(string.match(head, '(%d+)$')) < life then break end
    drop_oldest(list)
  end
end
while held > cap do
  if not drop_oldest(KEYS[2]) and not drop_oldest(KEYS[3]) then break end
end
for i = 1, #gone, AT_ONCE do
  redis.call('HDEL', KEYS[1], unpack(gone, i, math.min(i + AT_ONCE - 1, #gone)))
end
redis.call('SET', KEYS[4], string.format('%d', math.max(0, held)))
-- Where traffic stops, nothing files any more: the keys themselves end the last ones.
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, math.max(1, life)) end
return #gone
