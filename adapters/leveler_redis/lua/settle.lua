-- ARGV: who, then of each message what becomes of it, its lane, id, place in line, delay in ms, number of fields, fields
-- (of a dead letter). The queue of the dead letters stands behind the lanes in KEYS.
-- Answers the places of those that are no longer theirs.
local me, lease, now, DEAD = ARGV[1], lease_ms(), now_ms(), KEYS[FIRST_LANE + 21]
local items, ids_of, place = {}, {}, 2
while ARGV[place] do
  local count = tonumber(ARGV[place + 5])
  local item = {what = ARGV[place], lane = tonumber(ARGV[place + 1]), id = ARGV[place + 2], line = ARGV[place + 3],
    delay = tonumber(ARGV[place + 4]), fields = {unpack(ARGV, place + 6, place + 5 + count)}}
  items[#items + 1] = item
  ids_of[item.lane] = ids_of[item.lane] or {}
  table.insert(ids_of[item.lane], item.id)
  place = place + 6 + count
end

local held = {}
for lane, ids in pairs(ids_of) do held[lane] = ours(lane_key(lane), me, lease, ids) end

local function give_back(item, counted)
  local fields = entry_of(lane_key(item.lane), item.id)
  remove(lane_key(item.lane), item.id)
  if not fields then return done_with(item.line) end -- somebody has deleted it
  keep_origin(fields, item.id)
  if counted then count_delivery(fields, now) end
  local lane = front_of(item.lane)
  if item.delay <= 0 then return put(lane, fields) end
  local id = put_aside(lane, fields)
  redis.call('ZADD', DUE, now + item.delay, id)
  if item.line ~= '' then
    leave(item.line, READY)
    stand(item.line, '\0' .. id)
  end
end

local act = {
  complete = function(item)
    remove(lane_key(item.lane), item.id)
    done_with(item.line)
  end,
  count = function(item) give_back(item, true) end,
  keep = function(item) give_back(item, false) end,
  bury = function(item)
    remove(lane_key(item.lane), item.id)
    add(DEAD, item.fields)
    done_with(item.line)
  end,
}

local lost = {}
for index, item in ipairs(items) do
  if held[item.lane][item.id] then
    held[item.lane][item.id] = nil -- once
    act[item.what](item)
  else
    lost[#lost + 1] = index - 1
  end
end
return lost
