-- Put in front of all other scripts here: where things are, and what they have in common.
-- KEYS[1] gw:{jobs}:owners     zset: replica -> ms of its last word
-- KEYS[2] gw:{jobs}:ring       zset: tenant with jobs that nobody took yet -> its turn
-- KEYS[3] gw:{jobs}:orphans    list: jobs that were begun and are nobody's: the next ones to be taken
-- KEYS[4] gw:{jobs}:deadlines  zset: every job that is not over -> ms of its deadline
-- KEYS[5] gw:{jobs}:ended      zset: every job that is over -> ms at which its record goes
-- KEYS[6] gw:{jobs}:unknown    zset: jobs that an operator has to look at -> ms of their end
-- KEYS[7] gw:{jobs}:open       hash: tenant -> number of its jobs that are not over; `#bytes TENANT` of what they
--                              ask for, `#bytes` of all that is asked; `#turn` the last turn given
-- ARGV[1] ms since the epoch, 0 for the store's clock (tests give theirs)
-- All keys carry one hash tag, so scripts also touch those that only the store can name:
-- gw:{jobs}:job:ID        hash: job (JSON), sealed, tenant, state, cancel, created, expires, deadline, started, ended (ms),
--                         entry (of the stream); the fence: owner ('' nobody), token (grows with each owner), version (with each write)
-- gw:{jobs}:work:TENANT   stream: a field `job` each; the group `runners` has handed out those that are pending
-- gw:{jobs}:of:TENANT     zset: id -> ms of its creation
-- gw:{jobs}:held:OWNER    set: ids of the jobs that this replica works on
-- gw:{jobs}:hooks         zset: ended job whose caller is to hear of it -> second at which it is told (hooks.lua)
local OWNERS, RING, ORPHANS, DEADLINES, ENDED, UNKNOWN, OPEN = unpack(KEYS, 1, 7)
local JOB, WORK, OF, HELD = 'gw:{jobs}:job:', 'gw:{jobs}:work:', 'gw:{jobs}:of:', 'gw:{jobs}:held:'
local HOOKS = 'gw:{jobs}:hooks'
local CHANNEL = 'gw:jobs'
local GROUP, CONSUMER = 'runners', 'gateway' -- one consumer: the fence says which replica has it
local OVER = { succeeded = true, failed = true, cancelled = true, expired = true }
local SILENT_MS = 4000 -- an owner that says nothing for longer is dead, as with leases
local QUIET_MS = 2500 -- nobody was heard for so long although this owner lives: the store was away, or its clock was set

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function int(number)
  return string.format('%.0f', number)
end

local function tell(message)
  redis.call('PUBLISH', CHANNEL, message)
end

-- This tenant has work: it gets its turn after all who have one.
local function line_up(tenant)
  if not redis.call('ZSCORE', RING, tenant) then
    redis.call('ZADD', RING, redis.call('HINCRBY', OPEN, '#turn', 1), tenant)
  end
end

-- So many more (less) bytes of what its jobs ask for are kept.
local function weigh(tenant, bytes)
  for _, field in ipairs({ '#bytes', '#bytes ' .. tenant }) do
    if redis.call('HINCRBY', OPEN, field, bytes) <= 0 then redis.call('HDEL', OPEN, field) end
  end
end

-- A job has reached its one end. Its caller has looked that it was not over.
local function finish(id, state)
  local key = JOB .. id
  local found = redis.call('HMGET', key, 'tenant', 'entry', 'owner', 'expires')
  local tenant, work = found[1], WORK .. found[1]
  redis.pcall('XACK', work, GROUP, found[2])
  redis.call('XDEL', work, found[2])
  if redis.call('XLEN', work) == 0 then redis.call('DEL', work) end
  if found[3] ~= '' then redis.call('SREM', HELD .. found[3], id) end
  redis.call('ZREM', DEADLINES, id)
  if redis.call('HINCRBY', OPEN, tenant, -1) <= 0 then redis.call('HDEL', OPEN, tenant) end
  redis.call('ZADD', ENDED, found[4], id)
  redis.call('HSET', key, 'state', state, 'ended', int(now))
  weigh(tenant, -redis.call('HSTRLEN', key, 'sealed'))
  local read, job = pcall(cjson.decode, redis.call('HGET', key, 'job')) -- one that cannot be read holds up no other
  if read and type(job) == 'table' and job.webhook then
    redis.call('ZADD', HOOKS, 'NX', math.floor(now / 1000), id)
  end
  redis.call('HDEL', key, 'sealed')
  tell('moved ' .. id)
end

-- This owner has no right to it any more; it is the next one to be taken.
local function orphan(id, owner)
  if redis.call('HGET', JOB .. id, 'owner') == owner then
    redis.call('HSET', JOB .. id, 'owner', '')
    redis.call('RPUSH', ORPHANS, id)
  end
end

-- This owner lives; where the beats are no measure of who else does, all begin anew. Who is dead has nothing any more.
-- Returns how many jobs that freed.
local function beat(owner)
  local newest = tonumber(redis.call('ZRANGE', OWNERS, -1, -1, 'WITHSCORES')[2])
  if newest and math.abs(newest - now) > QUIET_MS and redis.call('ZSCORE', OWNERS, owner) then
    for _, other in ipairs(redis.call('ZRANGE', OWNERS, 0, -1)) do
      redis.call('ZADD', OWNERS, int(now), other)
    end
  end
  redis.call('ZADD', OWNERS, int(now), owner)
  local freed = 0
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', OWNERS, '-inf', '(' .. int(now - SILENT_MS))) do
    for _, id in ipairs(redis.call('SMEMBERS', HELD .. dead)) do
      orphan(id, dead)
      freed = freed + 1
    end
    redis.call('DEL', HELD .. dead)
    redis.call('ZREM', OWNERS, dead)
  end
  if freed > 0 then tell('work') end
  return freed
end
