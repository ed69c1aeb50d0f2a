-- A replica gives jobs back, to be taken by another one at once. KEYS and ARGV[1] as in jobs.lua.
-- ARGV[2] owner  [3] 1: it is about to end, and beats no more; then of each job: id, token
-- Returns how many were its own.
local given = 0
for at = 4, #ARGV, 2 do
  local found = redis.call('HMGET', JOB .. ARGV[at], 'owner', 'token')
  if found[1] == ARGV[2] and found[2] == ARGV[at + 1] then
    redis.call('SREM', HELD .. ARGV[2], ARGV[at])
    orphan(ARGV[at], ARGV[2])
    given = given + 1
  end
end
if ARGV[3] == '1' and redis.call('SCARD', HELD .. ARGV[2]) == 0 then redis.call('ZREM', OWNERS, ARGV[2]) end
if given > 0 then tell('work') end
return given
