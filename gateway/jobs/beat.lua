-- A replica lives, and names the jobs that it works on: all of them. KEYS and ARGV[1] as in jobs.lua.
-- ARGV[2] owner, then of each job: id, token
-- Returns the number of jobs that were freed of the dead, then of each that is to stop: id, `lost` or `cancel`. What it
-- holds here and does not name was taken by a call whose answer it never got: others may take that.
local owner = ARGV[2]
local freed = beat(owner)
local named, answer = {}, { 0 }
for at = 3, #ARGV, 2 do
  local id = ARGV[at]
  named[id] = true
  local found = redis.call('HMGET', JOB .. id, 'owner', 'token', 'cancel')
  local word = (found[1] ~= owner or found[2] ~= ARGV[at + 1]) and 'lost' or found[3] and 'cancel'
  if word then
    answer[#answer + 1] = id
    answer[#answer + 1] = word
  end
end
for _, id in ipairs(redis.call('SMEMBERS', HELD .. owner)) do
  if not named[id] then
    redis.call('SREM', HELD .. owner, id)
    orphan(id, owner)
    freed = freed + 1
    tell('work')
  end
end
answer[1] = freed -- no unpack: Lua's stack has room for 8,000
return answer
