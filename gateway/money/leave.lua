-- An owner that holds nothing any more ends. KEYS as in till.lua. Returns 1, or 0 where something is open: it is found
-- silent, and that booked.
if redis.call('EXISTS', OPEN) == 1 then return 0 end
for _, field in ipairs(redis.call('HKEYS', SLICES)) do
  if parse(field) then return 0 end
end
redis.call('DEL', SLICES)
redis.call('ZREM', OWNERS, ARGV[2])
return 1
