-- What one flush changes of one session, all of it or nothing.
--
-- KEYS  1 record  2 log  3 facts  4 history  5 turns  6 letters
-- ARGV  1 process  2 fence  3 number  4 ttl in milliseconds
--       then the changes, each a name and its arguments, those of the log first and in this order:
--         created   before, token, begins, 0 or 1 user   the session begins, and nothing of what was stored is left
--         anew      before                               the log is emptied
--         log       before, last, batch                  refused as a gap where the log does not end at `before`
--         trim      seq, the number after it             the log may forget what is not after seq
--         facts     n, n times name and value            replaced by name
--         turn      number                               the last turn
--         history   n, n entries                         appended
--         keep      n                                    the newest entries of the history stay
--         accepted  n, n times turn and entry            turns that are to be finished
--         finished  n, n turns
--         released                                       nobody writes it
--         ended                                          nothing is kept but the fence
-- Returns done, fenced, gap or lost: the names of `Outcome`. What ends comes alone.

local call = redis.call
local record, log, facts, history, turns, letters = unpack(KEYS)
local process, fence, number, ttl = unpack(ARGV)
local known = call('HMGET', record, 'fence', 'number', 'ended', 'head', 'start', 'kept', 'writer')
local head, start = known[4], known[5]
local at, last = 5, #ARGV

local older = not known[1] or tonumber(known[1]) < tonumber(fence)
if not older then
  if tonumber(known[1]) > tonumber(fence) or (known[7] and known[7] ~= '' and known[7] ~= process) then
    -- Where a Redis has lost its last moments, two may have taken the session by the same fence: the later one has it.
    return 'fenced'
  elseif tonumber(number) <= tonumber(known[2]) then
    return 'done'
  elseif known[3] then
    return 'fenced'
  end
end
if ARGV[at] ~= 'created' then
  if older then
    return 'lost'
  elseif tonumber(number) > known[2] + 1 and ARGV[at] ~= 'ended' then
    return 'gap'
  end
end
if at > last then
  -- A full Redis refuses what takes memory, unless the script has changed something before: it may still renew.
  call('PEXPIRE', record, ttl)
end

local fresh = ARGV[at] == 'created' -- whether there may be keys that have no time to live yet
while at <= last do
  local what, one, two, three, four = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local n = tonumber(one)
  if what == 'log' then
    if one ~= head then
      return 'gap'
    end
    call('XADD', log, two .. '-0', '', three)
    fresh = fresh or head == start
    head = two
    at = at + 4
  elseif what == 'trim' then
    if n >= tonumber(head) then
      start = head
      call('DEL', log)
    elseif n > tonumber(start) then
      start = one
      -- Whole blocks of memory only: to take single entries out of a block costs time and frees nothing.
      call('XTRIM', log, 'MINID', '~', two)
    end
    at = at + 3
  elseif what == 'facts' or what == 'accepted' then
    fresh = true
    for i = at + 2, at + 2 * n, 2 do
      call('HSET', what == 'facts' and facts or turns, ARGV[i], ARGV[i + 1])
    end
    at = at + 2 + 2 * n
  elseif what == 'finished' then
    for i = at + 2, at + 1 + n do
      call('HDEL', turns, ARGV[i])
    end
    at = at + 2 + n
  elseif what == 'history' then
    fresh = true
    for i = at + 2, at + 1 + n do
      call('RPUSH', history, ARGV[i])
    end
    at = at + 2 + n
  elseif what == 'keep' then
    if n == 0 then
      call('DEL', history)
    else
      call('LTRIM', history, -n, -1)
    end
    at = at + 2
  elseif what == 'turn' then
    call('HSET', record, 'turn', one)
    at = at + 2
  elseif what == 'created' then
    head, start = one, one
    call('HSET', record, 'token', two, 'begins', three, 'writer', process, 'fence', fence, 'turn', 0)
    call('HDEL', record, 'user', 'ended')
    if four == '1' then
      call('HSET', record, 'user', ARGV[at + 5])
    end
    call('DEL', log, facts, history, turns, letters)
    at = at + 5 + four
  elseif what == 'anew' then
    head, start = one, one
    call('DEL', log)
    at = at + 2
  elseif what == 'released' then
    call('HSET', record, 'writer', '')
    at = at + 1
  else
    call('DEL', record, log, facts, history, turns, letters)
    call('HSET', record, 'fence', fence, 'ended', 1)
    at = at + 1
  end
end
if known[2] == '0' then
  -- Whoever took the session has read the letters, and writes what they said.
  call('DEL', letters)
end

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if fresh or now + ttl > tonumber(known[6] or 0) then
  -- They may outlive the record, without which they are nothing: so they are not renewed with every write.
  for i = 2, #KEYS do
    call('PEXPIRE', KEYS[i], 2 * ttl)
  end
  call('HSET', record, 'kept', now + 2 * ttl)
end
call('HSET', record, 'number', number, 'head', head, 'start', start)
call('PEXPIRE', record, ttl)
return 'done'
