-- A job is taken in, once. KEYS and ARGV[1] as in jobs.lua, then where there is an Idempotency-Key
-- KEYS[8] gw:{jobs}:once:DIGEST   string: `id digest-of-the-body` of the job that this key brought
-- ARGV[2] id  [3] tenant  [4] job  [5] sealed  [6] ms until its deadline  [7] ms until its record goes
-- ARGV[8] digest of what was asked  [9] most jobs of a tenant that are not over  [10] most bytes sealed, of all of them; a
-- tenant has half of that
-- Returns {word, id}: `new`, `same` (this call was repeated), `again` (the same key and body brought that one),
-- `other` (the key brought another body), `full` (that tenant has too many), `heavy` (too many bytes)
local id, tenant, once = ARGV[2], ARGV[3], KEYS[8]
if redis.call('EXISTS', JOB .. id) == 1 then return { 'same', id } end
if once then
  local other, body = string.match(redis.call('GET', once) or '', '^(%S+) (%S+)$')
  if other and body ~= ARGV[8] then return { 'other', other } end
  if other and redis.call('EXISTS', JOB .. other) == 1 then return { 'again', other } end
end
if tonumber(redis.call('HGET', OPEN, tenant) or 0) >= tonumber(ARGV[9]) then return { 'full', '' } end
local function weighs(field, most)
  return tonumber(redis.call('HGET', OPEN, field) or 0) + #ARGV[5] > most
end
local room = tonumber(ARGV[10])
if weighs('#bytes', room) or weighs('#bytes ' .. tenant, room / 2) then return { 'heavy', '' } end

local deadline, expires = int(now + tonumber(ARGV[6])), int(now + tonumber(ARGV[7]))
redis.pcall('XGROUP', 'CREATE', WORK .. tenant, GROUP, '0', 'MKSTREAM')
local entry = redis.call('XADD', WORK .. tenant, '*', 'job', id)
redis.call('HSET', JOB .. id, 'job', ARGV[4], 'sealed', ARGV[5], 'tenant', tenant, 'state', 'queued',
  'created', int(now), 'expires', expires, 'deadline', deadline, 'entry', entry, 'owner', '', 'token', 0, 'version', 0)
redis.call('ZADD', OF .. tenant, int(now), id)
redis.call('ZADD', DEADLINES, deadline, id)
redis.call('HINCRBY', OPEN, tenant, 1)
weigh(tenant, #ARGV[5])
if once then redis.call('SET', once, id .. ' ' .. ARGV[8], 'PX', ARGV[7]) end
line_up(tenant)
tell('work')
return { 'new', id }
