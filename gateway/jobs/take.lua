-- A replica takes jobs to work on: first those that were begun by one that is gone, then one of each tenant in turn.
-- KEYS and ARGV[1] as in jobs.lua. ARGV[2] owner  [3] most jobs
-- Returns {ms of the store's clock, jobs of the dead that were freed}, then for each job: id, token, version, and what
-- `fields` names.
local owner, most = ARGV[2], tonumber(ARGV[3])
local fields = { 'version', 'job', 'state', 'cancel', 'created', 'expires', 'deadline', 'started', 'ended' }
local answer = { now, beat(owner) }

local function mine(id)
  local key = JOB .. id
  local state, before = unpack(redis.call('HMGET', key, 'state', 'owner'))
  if not state or OVER[state] or before ~= '' then return 0 end
  local token = redis.call('HINCRBY', key, 'token', 1)
  redis.call('HSET', key, 'owner', owner)
  redis.call('SADD', HELD .. owner, id)
  local found = redis.call('HMGET', key, unpack(fields))
  answer[#answer + 1] = id
  answer[#answer + 1] = token
  for i = 1, #fields do
    answer[#answer + 1] = found[i] or ''
  end
  return 1
end

-- The next job of this tenant that was not handed out yet.
local function next_of(tenant)
  local read = redis.pcall('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', 1, 'STREAMS', WORK .. tenant, '>')
  return read and not read.err and read[1] and read[1][2][1][2][2]
end

local taken = 0
while taken < most do
  local id = redis.call('LPOP', ORPHANS)
  if not id then break end
  taken = taken + mine(id)
end
while taken < most do
  local tenant = redis.call('ZPOPMIN', RING)[1]
  if not tenant then break end
  local id = next_of(tenant)
  if id then
    line_up(tenant)
    taken = taken + mine(id)
  end
end
return answer
