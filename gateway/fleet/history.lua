-- Appends one step to the history of one worker's GPUs.
-- KEYS[1] gw:{upstream}:hour   list: packed steps, oldest first; the first 4 bytes of each are its time
-- ARGV[1] the step      ARGV[2] how many stay      ARGV[3] seconds after which a list that nobody writes is gone
-- A step that is not newer than the last one comes from a replica that had the worker before, and is left out.
local last = redis.call('LINDEX', KEYS[1], -1)
if last and string.sub(last, 1, 4) >= string.sub(ARGV[1], 1, 4) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
