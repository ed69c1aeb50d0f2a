-- The sums of one backend, for a snapshot, the dead swept. KEYS as in lib.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh   [4] a time span, ms
-- Returns {known, recovering, number of live owners, of those that beat within the span, {slot, work, ...},
--   {slot, leases, ...}}
local now = clock(ARGV[2])

sweep(now, ARGV[1])
return {
  flag(redis.call('ZSCORE', BEATS, ARGV[1])),
  flag(recovering(now, ARGV[3])),
  redis.call('ZCARD', BEATS),
  redis.call('ZCOUNT', BEATS, int(now - ARGV[4]), '+inf'),
  redis.call('HGETALL', LOAD),
  redis.call('HGETALL', COUNT),
}
