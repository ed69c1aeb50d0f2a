-- The fleet of one minute goes to the ledger's stream: from whichever replica tells it first.
-- KEYS[1] gw:{money}:hours   string: the last minute that was told   KEYS[2] gw:{money}:ledger   the stream
-- ARGV[1] epoch seconds, 0 for the store's clock (tests give theirs)   ARGV[2..] JSON, each a list of workers
-- Returns the minute since the epoch, or 0 where it was told before.
local LAST, STREAM = KEYS[1], KEYS[2]
local EXPIRY_SECONDS = 7200

local now = tonumber(ARGV[1])
if now == 0 then now = tonumber(redis.call('TIME')[1]) end
local minute = math.floor(now / 60)
if minute <= tonumber(redis.call('GET', LAST) or '0') then return 0 end
redis.call('SET', LAST, minute, 'EX', EXPIRY_SECONDS)
local fields = {'minute', minute}
for place = 2, #ARGV do
  fields[#fields + 1] = 'hours'
  fields[#fields + 1] = ARGV[place]
end
redis.call('XADD', STREAM, '*', unpack(fields))
return minute
