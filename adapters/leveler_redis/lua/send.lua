-- ARGV: dedup window in ms, bound (-1 = none), then of each message its lane, delay in ms, dedup key, key, number of
-- fields, fields. Answers the places of those that there is no room for, or nil where there is no queue.
local q = redis.call('HMGET', META, 'ordered', 'number')
if not q[1] or redis.call('EXISTS', lane_key(12)) == 0 then return false end
local window, bound, now = tonumber(ARGV[1]), tonumber(ARGV[2]), now_ms()
-- Should the settings get lost, the count goes on above all that was given before.
local ordered, number = q[1] == '1', tonumber(q[2] or now * 1000)

local room = math.huge
if bound >= 0 then
  room = bound - redis.call('XLEN', LATER)
  for _, lane in ipairs(open_lanes()) do room = room - unread(lane) end
end

local function is_known(dedup_key)
  local until_ms = redis.call('ZSCORE', SEEN, dedup_key)
  return until_ms and tonumber(until_ms) > now
end

local function arrive(lane, delay, key, fields)
  if key ~= '' and ordered then
    number = number + 1
    local place = key .. '\0' .. string.format('%016d', number)
    local is_free = delay <= 0 and not first_in_line(key)
    set_field(fields, 'leveler:line', place)
    if is_free then
      stand(place, READY)
      return put(lane, fields)
    end
    local id = put_aside(lane, fields)
    stand(place, '\0' .. id)
    if delay > 0 then redis.call('ZADD', DUE, now + delay, id) end
  elseif delay > 0 then
    redis.call('ZADD', DUE, now + delay, put_aside(lane, fields))
  else
    put(lane, fields)
  end
end

if window > 0 then -- as many as come are forgotten, and some more
  local old = redis.call('ZRANGEBYSCORE', SEEN, '-inf', now, 'LIMIT', 0, 1000)
  if #old > 0 then redis.call('ZREM', SEEN, unpack(old)) end
end

local refused, index, place = {}, 0, 3
while ARGV[place] do
  local count = tonumber(ARGV[place + 4])
  local dedup_key = ARGV[place + 2]
  if not (window > 0 and is_known(dedup_key)) then
    if room <= 0 then
      refused[#refused + 1] = index
    else
      room = room - 1
      if window > 0 then redis.call('ZADD', SEEN, now + window, dedup_key) end
      arrive(tonumber(ARGV[place]), tonumber(ARGV[place + 1]), ARGV[place + 3], {unpack(ARGV, place + 5, place + 4 + count)})
    end
  end
  place, index = place + 5 + count, index + 1
end
if ordered then redis.call('HSET', META, 'number', number) end
return refused
