-- What changed among the keys since the last look; the set of keys begins here, where there is none.
-- KEYS[1] gw:{keys}:issued    hash: id -> what it is, sealed
-- KEYS[2] gw:{keys}:changes   sorted set: id -> number of its last change
-- KEYS[3] gw:{keys}:state     hash: `epoch` the moment at which this set of keys began, `number` of the last change
-- ARGV[1] number of the last change that is known   ARGV[2] most rows
-- Returns epoch, number of the last change, and for each row id, what it is ('' where it is gone), number of its change
-- What some other writer made unusable goes, and the set of keys begins anew: replicas put back what they know.
local whole = true
for i, kind in ipairs({ 'hash', 'zset', 'hash' }) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', KEYS[i])
    whole = false
  end
end
local number = redis.call('HGET', KEYS[3], 'number') or '0'
if not (whole and string.match(number, '^%d+$') and #number <= 15) then
  redis.call('DEL', KEYS[2], KEYS[3])
  number = '0'
end
local now = redis.call('TIME')
redis.call('HSETNX', KEYS[3], 'epoch', now[1] .. '.' .. now[2])
local answer = { redis.call('HGET', KEYS[3], 'epoch'), tonumber(number) }
local rows = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #rows, 2 do
  answer[#answer + 1] = rows[i]
  answer[#answer + 1] = redis.call('HGET', KEYS[1], rows[i]) or ''
  answer[#answer + 1] = tonumber(rows[i + 1])
end
return answer
