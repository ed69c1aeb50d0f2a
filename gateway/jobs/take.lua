-- A replica takes jobs to work on: first those that were begun by one that is gone, then one of each tenant in turn.
-- KEYS and ARGV[1] as in jobs.lua. ARGV[2] owner  [3] most jobs  [4] most of one tenant, its newest ones  then of each
-- tenant that has some here: its name, how many
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

local share, has = tonumber(ARGV[4]), {}
for at = 5, #ARGV, 2 do has[ARGV[at]] = tonumber(ARGV[at + 1]) end

local taken, aside = 0, {}
while taken < most do
  local id = redis.call('LPOP', ORPHANS)
  if not id then break end
  taken = taken + mine(id)
end
while taken < most do
  local tenant, turn = unpack(redis.call('ZPOPMIN', RING))
  if not tenant then break end
  local id
  if (has[tenant] or 0) >= share then
    aside[#aside + 1] = turn
    aside[#aside + 1] = tenant
  else
    id = next_of(tenant)
  end
  if id then
    line_up(tenant)
    has[tenant] = (has[tenant] or 0) + 1
    taken = taken + mine(id)
  end
end
for at = 1, #aside, 2 do redis.call('ZADD', RING, aside[at], aside[at + 1]) end
return answer
