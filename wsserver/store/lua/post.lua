-- Puts letters into the inbox of a process.
--
-- KEYS  1 inbox
-- ARGV  1 how many letters are kept, about  2 how long, in milliseconds  then names of letters and letters in turn
-- Returns nothing.

for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', ARGV[at], ARGV[at + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return false
