-- One exchange of one replica. Redis runs it whole before anything else.
--
-- KEYS: the counters (a hash), the window (a sorted set by time in microseconds).
-- ARGV: prefix, replica, number of the group (0: none), seconds that samples and names are kept, size of
--   the window; then each with its count before it: counters to raise (field, value), samples to restore
--   (time, member, json); then samples and anomalies that are only counted; then the group's samples
--   (time, name or '', anomaly 0/1, member, json).
-- Gives: 1 where the group is new, samples and anomalies added, names that were known, the counters, the
--   window.

local prefix, replica, sequence, ttl, size = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local at = 5
local function take()
  at = at + 1
  return ARGV[at]
end

-- What is no whole number that can be counted on is nothing.
local function counter(field)
  local value = tonumber(redis.call('HGET', KEYS[1], field))
  if value and value >= 0 and value <= 9007199254740992 then return value end
  return 0
end

local function set(field, value)
  redis.call('HSET', KEYS[1], field, string.format('%.0f', value))
end

local function key(micros)
  local whole = tonumber(micros)
  local seconds = math.floor(whole / 1000000)
  return string.format('%s:sample:%.0f.%06.0f', prefix, seconds, whole - seconds * 1000000)
end

local function keep(micros, member, json)
  redis.call('ZADD', KEYS[2], micros, member)
  redis.call('SET', key(micros), json, 'EX', ttl)
end

-- Redis does not undo what a script did before it failed. So what can fail comes first: keys of another
-- kind, and a write that a full or read-only server refuses.
local done = counter(replica .. '/sequence')
redis.call('ZCARD', KEYS[2])
set(replica .. '/sequence', done)

for _ = 1, tonumber(take()) do
  local field, value = take(), tonumber(take())
  if counter(field) < value then set(field, value) end
end
done = counter(replica .. '/sequence')
for _ = 1, tonumber(take()) do
  keep(take(), take(), take())
end

local is_new, samples, anomalies, known = 0, tonumber(take()), tonumber(take()), {}
if sequence > done then
  is_new = 1
  for _ = 1, tonumber(take()) do
    local micros, name, is_anomaly, member, json = take(), take(), tonumber(take()), take(), take()
    if name == '' or redis.call('SET', prefix .. ':name:' .. name, replica, 'NX', 'EX', ttl) then
      samples = samples + 1
      anomalies = anomalies + is_anomaly
      keep(micros, member, json)
    else
      known[#known + 1] = name
    end
  end
  set(replica .. '/samples', counter(replica .. '/samples') + samples)
  set(replica .. '/anomalies', counter(replica .. '/anomalies') + anomalies)
  set(replica .. '/sequence', sequence)
else
  samples, anomalies = 0, 0
end

local over = redis.call('ZCARD', KEYS[2]) - size
if over > 0 then
  local oldest = redis.call('ZRANGE', KEYS[2], 0, over - 1, 'WITHSCORES')
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1)
  for place = 2, #oldest, 2 do
    local micros = oldest[place]
    if redis.call('ZCOUNT', KEYS[2], micros, micros) == 0 then redis.call('DEL', key(micros)) end
  end
end
return {is_new, samples, anomalies, known, redis.call('HGETALL', KEYS[1]), redis.call('ZRANGE', KEYS[2], 0, -1)}
