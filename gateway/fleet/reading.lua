-- Writes the scrapes of workers.
-- KEYS[1] gw:readings   hash: upstream -> "life|started|at_ms|json"
-- ARGV, for each worker: upstream, the process's start time ("" where unknown), the reading as JSON, and the life and
--   the start time that the writer read last (0 and "": none)
-- A worker whose start time moved lives a new life: leases taken on the old one stop counting against it. After a flush
-- the writer tells which life it is: leases are written back under it.
local MOVED_SECONDS, WIDTH = 1, 5

local time = redis.call('TIME')
local at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #ARGV, WIDTH do
  local started, life, old_started = ARGV[i + 1], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  local stored_life, stored_started = string.match(stored or '', '^(%d+)|([^|]*)|') -- nil: unreadable is as good as none
  if stored_life and tonumber(stored_life) >= life then
    life, old_started = tonumber(stored_life), stored_started
  end
  if started == '' then
    started = old_started
  elseif old_started ~= '' and math.abs(tonumber(started) - tonumber(old_started)) > MOVED_SECONDS then
    life = life + 1
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%d|%s|%d|%s', life, started, at_ms, ARGV[i + 2]))
end
