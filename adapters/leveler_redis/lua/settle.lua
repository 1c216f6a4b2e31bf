-- ARGV: the consumer, if it doubts that these are its own, else nothing; then of each message what becomes of it, its
-- lane, id, place in line, delay in ms, number of fields, fields (of a dead letter). The queue of the dead letters stands
-- behind the lanes in KEYS. Answers the places of those that were lost.
local doubted_by, now, DEAD = ARGV[1], now_ms(), KEYS[FIRST_LANE + 21]

-- Take it out; whether it was ours.
local function take(item)
  local stream = lane_key(item.lane)
  if is_lost(stream, item.id, doubted_by) then return false end
  local acknowledged = redis.call('XACK', stream, GROUP, item.id)
  return redis.call('XDEL', stream, item.id) + acknowledged > 0
end

local function give_back(item, counted)
  local fields = entry_of(lane_key(item.lane), item.id)
  if not take(item) then return false end
  if not fields then -- somebody else has deleted it
    done_with(item.line)
    return true
  end
  keep_origin(fields, item.id)
  if counted then count_delivery(fields, now) end
  local lane = front_of(item.lane)
  if item.delay <= 0 then
    put(lane, fields)
    return true
  end
  local id = put_aside(lane, fields)
  redis.call('ZADD', DUE, now + item.delay, id)
  if key_of(item.line) then
    leave(item.line, READY)
    stand(item.line, '\0' .. id)
  end
  return true
end

local act = {
  complete = function(item)
    if not take(item) then return false end
    done_with(item.line)
    return true
  end,
  count = function(item) return give_back(item, true) end,
  keep = function(item) return give_back(item, false) end,
  bury = function(item)
    if not take(item) then return false end
    add(DEAD, item.fields)
    done_with(item.line)
    return true
  end,
}

local lost, index, place = {}, 0, 2
while ARGV[place] do
  local count = tonumber(ARGV[place + 5])
  local item = {lane = tonumber(ARGV[place + 1]), id = ARGV[place + 2], line = ARGV[place + 3],
    delay = tonumber(ARGV[place + 4]), fields = {unpack(ARGV, place + 6, place + 5 + count)}}
  if not act[ARGV[place]](item) then lost[#lost + 1] = index end
  place, index = place + 6 + count, index + 1
end
return lost
