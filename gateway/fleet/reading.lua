-- Writes one scrape of one worker.
-- KEYS[1] gw:readings   hash: upstream -> "life|started|at_ms|json"
-- ARGV[1] upstream      ARGV[2] the process's start time, "" where unknown      ARGV[3] the reading as JSON
-- A worker whose start time moved lives a new life: leases taken on the old one stop counting against it.
local MOVED_SECONDS = 1

local life, started = 0, ARGV[2]
local before = redis.call('HGET', KEYS[1], ARGV[1])
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
local time = redis.call('TIME')
local at_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d|%s|%d|%s', life, started, at_ms, ARGV[3]))
return life
