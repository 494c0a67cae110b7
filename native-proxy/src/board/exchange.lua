-- One exchange of one process. Redis runs it whole before anything else.
--
-- KEYS: the names of all records in the order in which they changed (a sorted set by number), what this store
--   is (a hash).
-- ARGV: how the keys of records begin, a name for the store where it has none, milliseconds that a record is
--   kept, the store that the next is of, the number of the last change that is known, most changes to give;
--   then records to keep: name, sequence, bytes.
-- Gives: the store's name, its time in microseconds, the number of the last change that was given, whether
--   there are more, records that were older than what was there, then what changed: name, number, value.
--
-- A value is `sequence:time:` and the record's bytes, which nobody reads here.

local changes, about = KEYS[1], KEYS[2]
local prefix, new, kept, known, cursor, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = string.format('%d%06d', time[1], time[2])

-- Redis does not undo what a script did before it failed. So what can fail comes first: keys of another
-- kind, and a write that a full or read-only server refuses.
-- A store that begins again, be it with the same process, has another name.
if redis.call('HSETNX', about, 'store', new .. now) == 1 then
  redis.call('DEL', changes)
  redis.call('HSET', about, 'changes', 0)
end
redis.call('ZCARD', changes)
redis.call('PEXPIRE', about, 2 * kept)
local store = redis.call('HGET', about, 'store')

-- A key of another kind holds nothing of ours.
local function get(name)
  local value = redis.pcall('GET', prefix .. name)
  if type(value) == 'table' then return '' end
  return value
end

local outdated, written = 0, 0
for at = 7, #ARGV, 3 do
  local name, sequence = ARGV[at], ARGV[at + 1]
  local value = get(name)
  local there = value and tonumber(string.match(value, '^(%d+):%d+:'))
  if there and there > tonumber(sequence) then
    outdated = outdated + 1
  elseif there ~= tonumber(sequence) then
    written = written + 1
    redis.call('SET', prefix .. name, sequence .. ':' .. now .. ':' .. ARGV[at + 2], 'PX', kept)
    redis.call('ZADD', changes, redis.call('HINCRBY', about, 'changes', 1), name)
  end
end

-- Those that changed longest ago are the first that are gone.
local oldest = redis.call('ZRANGE', changes, 0, 2 * written + 15)
for at = 1, #oldest do
  if redis.call('EXISTS', prefix .. oldest[at]) == 1 then break end
  redis.call('ZREM', changes, oldest[at])
end
redis.call('PEXPIRE', changes, 2 * kept)

-- Numbers of another store, or of this one before it lost some of them, say nothing.
if known ~= store or cursor > tonumber(redis.call('HGET', about, 'changes')) then cursor = 0 end
local given, more = {}, 0
if most > 0 then
  local names = redis.call('ZRANGEBYSCORE', changes, '(' .. string.format('%.0f', cursor), '+inf', 'WITHSCORES', 'LIMIT', 0, most)
  for at = 1, #names, 2 do
    local value = get(names[at])
    if value then
      given[#given + 1] = names[at]
      given[#given + 1] = names[at + 1]
      given[#given + 1] = value
    end
    cursor = tonumber(names[at + 1])
  end
  if #names == 2 * most then more = 1 end
end
return {store, now, string.format('%.0f', cursor), more, outdated, given}
