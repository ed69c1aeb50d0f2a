-- Files a batch of receipts under a byte cap. All keys share a hash tag.
-- KEYS[1] gw:{receipts}:data    hash: id -> tenant "\n" receipt JSON
-- KEYS[2] gw:{receipts}:plain   list of "id size second": plain local ones, the first to go
-- KEYS[3] gw:{receipts}:kept    list of "id size second": refused, spilled, failed and flagged ones
-- KEYS[4] gw:{receipts}:bytes   integer: bytes held
-- ARGV[1] byte cap   ARGV[2] longest life in seconds   then (id, "plain" or "kept", value) for each receipt
-- Returns how many were removed.
local EXPIRED_PER_CALL = 1000

local now = tonumber(redis.call('TIME')[1])
local cap, life = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = tonumber(redis.call('GET', KEYS[4]) or '0')
local removed = 0

local function drop_oldest(list)
  local head = redis.call('LPOP', list)
  if not head then return false end
  local id, size = string.match(head, '^(%S+) (%d+)')
  redis.call('HDEL', KEYS[1], id)
  held = held - tonumber(size)
  removed = removed + 1
  return true
end

for i = 3, #ARGV, 3 do
  local list = KEYS[2]
  if ARGV[i + 1] == 'kept' then list = KEYS[3] end
  local size = #ARGV[i] + #ARGV[i + 2]
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  redis.call('RPUSH', list, ARGV[i] .. ' ' .. size .. ' ' .. now)
  held = held + size
end

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
redis.call('SET', KEYS[4], string.format('%d', math.max(0, held)))
-- Where traffic stops, nothing files any more: the keys themselves end the last ones.
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, math.max(1, life)) end
return removed
