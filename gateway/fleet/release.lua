-- Gives leases back. KEYS as in lib.lua; ARGV: lease ids. Unknown ids change nothing.
for _, id in ipairs(ARGV) do
  drop(id)
end
return redis.status_reply('OK')
