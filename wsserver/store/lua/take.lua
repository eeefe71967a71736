-- Makes a process the writer of a session.
--
-- KEYS  1 record  2 log  3 facts  4 history  5 turns  6 letters
-- ARGV  1 process  2 the fence that is known, which is raised by one  3 "lost" where an epoch begins at the log's head
-- Returns nothing where the fence is another one, or the session is gone; else what the keys hold: record, log, facts,
-- history, turns, letters.

local record, log, facts, history, turns, letters = unpack(KEYS)
local process, fence, lost = unpack(ARGV)
local known = redis.call('HMGET', record, 'fence', 'writer', 'number', 'ended', 'begins', 'head', 'start')
if not known[1] or known[4] then
  return false
end
if known[1] == fence then
  redis.call('HSET', record, 'fence', fence + 1, 'writer', process, 'number', 0)
  if lost == 'lost' then
    redis.call('HSET', record, 'begins', known[5] .. ',' .. known[6])
  end
elseif tonumber(known[1]) ~= fence + 1 or known[2] ~= process or known[3] ~= '0' then
  -- What is left is this very call, repeated because its answer was lost.
  return false
end
return {
  redis.call('HGETALL', record),
  redis.call('XRANGE', log, '(' .. known[7], '+'),
  redis.call('HGETALL', facts),
  redis.call('LRANGE', history, 0, -1),
  redis.call('HGETALL', turns),
  redis.call('LRANGE', letters, 0, -1),
}
