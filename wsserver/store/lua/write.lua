-- What one flush changes of one session, all of it or nothing.
--
-- KEYS  1 record  2 log  3 facts  4 history  5 turns  6 letters
-- ARGV  1 process  2 fence  3 number  4 ttl in milliseconds
--       then the changes, each a name and its arguments, those of the log first and in this order:
--         created   before, token, begins, 0 or 1 user   the session, where it is unknown or known by an older fence
--         anew      before                               the log is emptied
--         log       before, last, batch                  refused as a gap if the log does not end at `before`
--         trim      seq, the number after it             the log may forget what is not after seq
--         facts     n, n times name and value            replaced by name
--         turn      number                               the last turn
--         history   n, n entries                         appended
--         keep      n                                    the newest entries of the history stay
--         accepted  n, n times turn and entry            turns that are to be finished
--         finished  n, n turns
--         released                                       nobody writes it
--         ended                                          nothing is kept but the fence
-- Returns done, fenced, gap or lost: the names of `Outcome`.

local record, log, facts, history, turns, letters = unpack(KEYS)
local process, fence, number, ttl = unpack(ARGV)
local known = redis.call('HMGET', record, 'fence', 'number', 'ended', 'head', 'start')
local head, start = known[4], known[5]
local at = 5

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

local create = not known[1] or tonumber(known[1]) < tonumber(fence)
if create then
  if ARGV[at] ~= 'created' then
    return 'lost'
  end
elseif tonumber(known[1]) > tonumber(fence) then
  return 'fenced'
elseif tonumber(number) <= tonumber(known[2]) then
  return 'done'
elseif known[3] then
  return 'fenced'
elseif at > #ARGV then
  -- A full Redis refuses what takes memory, unless the script has changed something before: it may still renew.
  redis.call('PEXPIRE', record, ttl)
end

local change = {}

function change.created()
  local before, token, begins, n = argument(), argument(), argument(), tonumber(argument())
  local user = n == 1 and argument()
  if create then
    head, start = before, before
    redis.call('HSET', record, 'token', token, 'begins', begins, 'writer', process, 'fence', fence, 'turn', 0)
    redis.call('HDEL', record, 'user', 'ended')
    if user then
      redis.call('HSET', record, 'user', user)
    end
    redis.call('DEL', log, facts, history, turns, letters)
  end
end

function change.anew()
  head = argument()
  start = head
  redis.call('DEL', log)
end

function change.log()
  local before, last, batch = argument(), argument(), argument()
  if before ~= head then
    return true
  end
  redis.call('XADD', log, last .. '-0', '', batch)
  head = last
end

function change.trim()
  local seq, after = argument(), argument()
  if tonumber(seq) >= tonumber(head) then
    start = head
    redis.call('DEL', log)
  elseif tonumber(seq) > tonumber(start) then
    start = seq
    -- Whole blocks of memory only: to take single entries out of a block costs time and frees nothing.
    redis.call('XTRIM', log, 'MINID', '~', after)
  end
end

function change.facts()
  for _ = 1, argument() do
    redis.call('HSET', facts, argument(), argument())
  end
end

function change.turn()
  redis.call('HSET', record, 'turn', argument())
end

function change.history()
  for _ = 1, argument() do
    redis.call('RPUSH', history, argument())
  end
end

function change.keep()
  local n = tonumber(argument())
  if n == 0 then
    redis.call('DEL', history)
  else
    redis.call('LTRIM', history, -n, -1)
  end
end

function change.accepted()
  for _ = 1, argument() do
    redis.call('HSET', turns, argument(), argument())
  end
end

function change.finished()
  for _ = 1, argument() do
    redis.call('HDEL', turns, argument())
  end
end

function change.released()
  redis.call('HSET', record, 'writer', '')
end

function change.ended()
  redis.call('DEL', record, log, facts, history, turns, letters)
  redis.call('HSET', record, 'fence', fence, 'ended', 1)
end

while at <= #ARGV do
  if change[argument()]() then
    return 'gap'
  end
end
if known[2] == '0' then
  -- Whoever took the session has read the letters, and writes what they said.
  redis.call('DEL', letters)
end
redis.call('HSET', record, 'number', number, 'head', head, 'start', start)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ttl)
end
return 'done'
