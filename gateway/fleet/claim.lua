-- Shares out the scraping: each worker is scraped by one replica at a time.
-- KEYS[1] gw:probes     hash: upstream -> "owner|expires_ms"
-- ARGV[1] owner         ARGV[2] how long a claim holds, ms      ARGV[3..] upstreams
-- A claim that would hold for longer than that was made before the clock was set back, and holds no more.
-- Returns the upstreams this owner holds now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local span = tonumber(ARGV[2])
local mine = {}
for i = 3, #ARGV do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local owner, expires = nil, 0
  if held then
    owner, expires = string.match(held, '^([^|]*)|(%d+)$')
  end
  if owner == ARGV[1] or now >= tonumber(expires) or tonumber(expires) > now + span then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[1] .. '|' .. (now + span))
    mine[#mine + 1] = ARGV[i]
  end
end
return mine
