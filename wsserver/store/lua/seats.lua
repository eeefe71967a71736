-- Goes on with the lease of a process, and takes seats, which are counted over all processes that live.
--
-- KEYS  1 processes, by the end of their leases  2 what this process holds  3… what the other ones that are known hold
-- ARGV  1 this process  2… those others  then
--       lease in milliseconds
--       the number of this exchange, which grows
--       "all" where the seats that follow are all that this process holds, else ""
--       n, n times the name of a seat and how many places of it this process holds
--       requests, each n and n times the number of a seat among those and its limit of places
-- Returns "whole" where nothing is known of this process: it has to say all that it holds; "late" where a later exchange
-- has been here before; "who" and the processes that live where one is not among the keys; in all these cases nothing
-- has changed. Else "ok" and for each request 0, or the number of the seat that has no place.

local processes, own = KEYS[1], KEYS[2]
local at = #KEYS

local function argument()
  at = at + 1
  return ARGV[at - 1]
end

local lease, number, all = argument(), argument(), argument()
local last = redis.call('HGET', own, '')
if not last and all == '' then
  return {'whole'}
elseif last and tonumber(number) < tonumber(last) then
  return {'late'}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', processes, '-inf', now)
local keys = {}
for i = 2, #KEYS do
  keys[ARGV[i - 1]] = KEYS[i]
end
local others = {}
local living = redis.call('ZRANGE', processes, 0, -1)
for _, process in ipairs(living) do
  if not keys[process] then
    return {'who', unpack(living)}
  elseif process ~= ARGV[1] then
    others[#others + 1] = keys[process]
  end
end

if all ~= '' then
  redis.call('DEL', own)
end
redis.call('HSET', own, '', number)
redis.call('PEXPIRE', own, lease)
redis.call('ZADD', processes, now + lease, ARGV[1])
if redis.call('PTTL', processes) < tonumber(lease) then
  redis.call('PEXPIRE', processes, lease)
end

local seats, held, elsewhere = {}, {}, {}
for i = 1, argument() do
  seats[i], held[i] = argument(), tonumber(argument())
end

-- Places of a seat that all processes hold together.
local function taken(seat)
  if not elsewhere[seat] then
    elsewhere[seat] = 0
    for _, key in ipairs(others) do
      elsewhere[seat] = elsewhere[seat] + (redis.call('HGET', key, seats[seat]) or 0)
    end
  end
  return elsewhere[seat] + held[seat]
end

local answers = {'ok'}
while at <= #ARGV do
  local wanted, full = {}, 0
  for i = 1, argument() do
    local seat, limit = tonumber(argument()), tonumber(argument())
    wanted[i] = seat
    if full == 0 and taken(seat) >= limit then
      full = seat
    end
  end
  if full == 0 then
    for _, seat in ipairs(wanted) do
      held[seat] = held[seat] + 1
    end
  end
  answers[#answers + 1] = full
end

for i, seat in ipairs(seats) do
  if held[i] > 0 then
    redis.call('HSET', own, seat, held[i])
  else
    redis.call('HDEL', own, seat)
  end
end
return answers
