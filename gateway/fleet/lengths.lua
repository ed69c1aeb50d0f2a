-- Folds finished requests into the mean lengths of their models, and tells all means.
-- KEYS[1] gw:lengths   hash: model -> "prompt tokens|prompt bytes|output tokens|requests seen"
-- ARGV[1] requests after which one has mostly faded   [2] requests that the prior is worth
-- then for each model: model, requests, their means (prompt tokens, prompt bytes, output tokens), the means before any
-- The n requests count as if each had been folded in alone (routing/learn.py:learn; a test holds the two together).
local WIDTH = 8
local KEEP_MS = 604800000 -- kept while any replica asks, and for a week after

for i = 3, #ARGV, WIDTH do
  local n = tonumber(ARGV[i + 1])
  local old, seen = { ARGV[i + 5], ARGV[i + 6], ARGV[i + 7] }, 0
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  if before then
    local prompt, text, output, count = string.match(before, '^(%S+)|(%S+)|(%S+)|(%d+)$')
    if count then
      old, seen = { prompt, text, output }, tonumber(count)
    end
  end
  local kept = (1 - 1 / math.min(tonumber(ARGV[1]), seen + tonumber(ARGV[2]))) ^ n
  local new = {}
  for j = 1, 3 do
    local mean = tonumber(ARGV[i + 1 + j])
    new[j] = string.format('%.17g', mean + kept * (tonumber(old[j]) - mean))
  end
  redis.call('HSET', KEYS[1], ARGV[i], table.concat(new, '|') .. string.format('|%.0f', seen + n))
end
redis.call('PEXPIRE', KEYS[1], KEEP_MS)
return redis.call('HGETALL', KEYS[1])
