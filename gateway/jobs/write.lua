-- The replica that has a job writes it: nobody else can, and nobody who had it before. KEYS and ARGV[1] as in jobs.lua.
-- ARGV[2] owner  [3] id  [4] token  [5] version that this makes  [6] state  [7] job  [8] 1: its outcome is unknown
-- Returns 1, also where it was written before and only the answer was lost; 0: the fence is lost, or it is gone.
local owner, id, version, state = ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[6]
local found = redis.call('HMGET', JOB .. id, 'owner', 'token', 'version', 'state')
if found[1] ~= owner or found[2] ~= ARGV[4] then return 0 end
if tonumber(found[3]) == version then return 1 end
if tonumber(found[3]) ~= version - 1 or OVER[found[4]] then return 0 end
redis.call('HSET', JOB .. id, 'job', ARGV[7], 'version', version, 'state', state)
if OVER[state] then
  finish(id, state)
  if ARGV[8] == '1' then redis.call('ZADD', UNKNOWN, int(now), id) end
else
  redis.call('HSETNX', JOB .. id, 'started', int(now))
  tell('moved ' .. id)
end
return 1
