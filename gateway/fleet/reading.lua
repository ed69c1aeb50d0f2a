-- Writes the scrapes of workers.
-- KEYS[1] gw:readings   hash: upstream -> "life|started|at_ms|json"
-- ARGV, for each worker: upstream, the process's start time ("" where unknown), the reading as JSON
-- A worker whose start time moved lives a new life: leases taken on the old one stop counting against it.
local MOVED_SECONDS, WIDTH = 1, 3

local time = redis.call('TIME')
local at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #ARGV, WIDTH do
  local life, started = 0, ARGV[i + 1]
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before then
    local old_life, old_started = string.match(before, '^(%d+)|([^|]*)|')
    life = tonumber(old_life or '0')
    old_started = old_started or '' -- an unreadable row is as good as none
    if started == '' then
      started = old_started
    elseif old_started ~= '' and math.abs(tonumber(started) - tonumber(old_started)) > MOVED_SECONDS then
      life = life + 1
    end
  end
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%d|%s|%d|%s', life, started, at_ms, ARGV[i + 2]))
end
