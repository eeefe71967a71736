-- Leaves a letter for whoever takes a session next.
--
-- KEYS  1 record  2 letters
-- ARGV  1 the letter  2 a process that is known to be dead, or ""  3 how many letters are kept
-- Returns 1; 0 where the session is unknown; the name of its writer where that is another process.

local record, letters = unpack(KEYS)
local letter, dead, kept = unpack(ARGV)
local known = redis.call('HMGET', record, 'writer', 'ended')
local writer = known[1]
if not writer or known[2] then
  return 0
end
if writer ~= '' and writer ~= dead then
  return writer
end
redis.call('RPUSH', letters, letter)
redis.call('LTRIM', letters, -kept, -1)
redis.call('PEXPIRE', letters, redis.call('PTTL', record))
return 1
