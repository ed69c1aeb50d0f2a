-- What time does to jobs. KEYS and ARGV[1] as in jobs.lua. ARGV[2] most of each
-- Jobs that nobody began end at their deadline; those under way are ended by whoever has them, or takes them next.
-- Returns {how many ended, ids whose record is to go ...}
local AGAIN_MS = 5000 -- until one that is under way is looked at again
local ended = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', int(now), 'LIMIT', 0, ARGV[2])) do
  local state, owner = unpack(redis.call('HMGET', JOB .. id, 'state', 'owner'))
  if not state then
    redis.call('ZREM', DEADLINES, id)
  elseif state == 'queued' and owner == '' then
    finish(id, 'expired')
    ended = ended + 1
  else
    redis.call('ZADD', DEADLINES, int(now + AGAIN_MS), id)
  end
end
return { ended, unpack(redis.call('ZRANGEBYSCORE', ENDED, '-inf', int(now), 'LIMIT', 0, ARGV[2])) }
