-- The sums of one backend, for a snapshot, the dead swept. KEYS as in waits.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh   [4] a time span, ms
-- Returns {known, recovering, number of live owners, of those that beat within the span, {slot, work, ...},
--   {slot, leases, ...}, number of other owners whose requests wait here}
local now = clock(ARGV[2])

sweep(now, ARGV[1])
local waiting = 0
if redis.call('EXISTS', WAITS) == 1 then
  forget_stale_waits()
  waiting = redis.call('ZCARD', WAITS) - (redis.call('ZSCORE', WAITS, ARGV[1]) and 1 or 0)
end
return {
  flag(redis.call('ZSCORE', BEATS, ARGV[1])),
  flag(recovering(now, ARGV[3])),
  redis.call('ZCARD', BEATS),
  redis.call('ZCOUNT', BEATS, int(now - ARGV[4]), '+inf'),
  redis.call('HGETALL', LOAD),
  redis.call('HGETALL', COUNT),
  waiting,
}
