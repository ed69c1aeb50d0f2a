-- Its caller wants a job to end. KEYS and ARGV[1] as in jobs.lua. ARGV[2] id
-- Returns 1, also where it was over; 0 where there is no such job.
local id = ARGV[2]
local state, owner = unpack(redis.call('HMGET', JOB .. id, 'state', 'owner'))
if not state then return 0 end
if OVER[state] then return 1 end
redis.call('HSET', JOB .. id, 'cancel', 1)
if state == 'queued' and owner == '' then
  finish(id, 'cancelled')
else
  tell('cancel ' .. id)
end
return 1
