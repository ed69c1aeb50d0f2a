-- The sums of one backend, for a snapshot, the dead swept. KEYS as in lib.lua.
-- ARGV[1] owner   [2] now, ms (0: the store's)   [3] fresh
-- Returns {known, recovering, number of live owners, {slot, work, ...}, {slot, leases, ...}}
local now = clock(ARGV[2])

sweep(now)
return {
  flag(redis.call('ZSCORE', BEATS, ARGV[1])),
  flag(recovering(now, ARGV[3])),
  redis.call('ZCARD', BEATS),
  redis.call('HGETALL', LOAD),
  redis.call('HGETALL', COUNT),
}
