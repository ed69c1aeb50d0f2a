-- Gives leases back. KEYS as in waits.lua. Unknown ids change nothing.
-- ARGV[1] how many places of them are left to other replicas   [2] owner, who is not told   [3..] lease ids
for i = 3, #ARGV do
  drop(ARGV[i])
end
tell(tonumber(ARGV[1]), ARGV[2])
return redis.status_reply('OK')
