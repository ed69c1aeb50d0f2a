-- An owner lives; and whoever has been silent for too long is dead: what it held is booked. KEYS as in till.lua.
-- ARGV[4] '' or, where the answer to a draw was lost, the last draw that this owner made; then ARGV[5..] is all that it
--   holds: account, amount. What the store has beyond that goes back; a draw that comes later than this is void.
-- Returns {standing, number of owners that were found dead}.
local MANY = 8 -- so many of the dead at once: a script holds up everybody

-- A row for what a dead owner held of a quota of USD beyond the attempts that are known: some may not have been told.
local function slice_row(owner, account, amount)
  local _, _, name = parse(account)
  local us = int(now) .. '000'
  local text = {
    '{"attempt":', cjson.encode('slice ' .. owner .. ' ' .. account), ',"request":"","began":', us, ',"ended":', us,
    ',"tenant":"","model":"","endpoint":"","rule":"","backend":"","upstream":"","served_as":"","kind":"managed"',
    ',"role":"slice","outcome":"managed","reason":', cjson.encode(name), ',"result":"unreconciled","policy":""',
    ',"cost":null,"basis":"reserved","payer":"operator","state":"unreconciled","reserved":', int(amount), '}',
  }
  return table.concat(text)
end

local function reap(owner)
  local slices, open = 'gw:{money}:slices:' .. owner, 'gw:{money}:open:' .. owner
  local covered = {}
  local entries = redis.call('HGETALL', open)
  for i = 2, #entries, 2 do
    local shares, row = string.match(entries[i], '^(.-)\n\n(.*)$')
    for account, amount in string.gmatch(shares, '([^\t\n]+)\t(%d+)') do
      covered[account] = (covered[account] or 0) + tonumber(amount)
    end
    redis.call('XADD', LEDGER, '*', 'row', row)
  end
  local held = redis.call('HGETALL', slices)
  for i = 1, #held, 2 do
    local account, amount = held[i], tonumber(held[i + 1])
    local _, unit = parse(account)
    if unit then
      hold(slices, account, -amount)
      if unit ~= 'concurrent' then use(account, amount, true) end
      local beyond = amount - (covered[account] or 0)
      if unit == 'usd' and beyond > 0 then
        redis.call('XADD', LEDGER, '*', 'row', slice_row(owner, account, beyond))
      end
    end
  end
  redis.call('DEL', slices, open)
  redis.call('ZREM', OWNERS, owner)
end

local status = standing()
if status ~= OK then return { status, 0 } end

beat()
if ARGV[4] ~= '' and tonumber(ARGV[4]) >= tonumber(redis.call('HGET', SLICES, '#draw') or 0) then
  redis.call('HSET', SLICES, '#draw', ARGV[4])
  local holds = {}
  for i = 5, #ARGV, 2 do
    holds[ARGV[i]] = tonumber(ARGV[i + 1])
  end
  local held = redis.call('HGETALL', SLICES)
  for i = 1, #held, 2 do
    local excess = parse(held[i]) and tonumber(held[i + 1]) - (holds[held[i]] or 0) or 0
    if excess > 0 then hold(SLICES, held[i], -excess) end
  end
end
local dead = redis.call('ZRANGEBYSCORE', OWNERS, '-inf', '(' .. int(now - SILENT_MS), 'LIMIT', 0, MANY)
for _, owner in ipairs(dead) do
  reap(owner)
end
return { OK, #dead }
