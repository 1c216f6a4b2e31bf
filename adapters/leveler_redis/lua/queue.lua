-- What the scripts of a queue share. KEYS, in each of them: see keys.py.
local META, LATER, DUE, LINE, SEEN, FIRST_LANE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], 5
local GROUP = 'leveler'
-- More arguments than this do not fit into one call (Lua can unpack just below 8000).
local MOST_ARGUMENTS = 7000
-- What we keep in an entry. All of it may have been written by anybody.
local OURS = {['leveler:deliveries'] = true, ['leveler:entry'] = true, ['leveler:failed'] = true,
  ['leveler:lane'] = true, ['leveler:line'] = true}
local MOST_DELIVERIES = 1000000

local function lane_key(lane) return KEYS[FIRST_LANE + lane] end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lanes that have been used, in the order in which they are served.
local lanes
local function open_lanes()
  if not lanes then
    lanes = {}
    for lane in string.gmatch(redis.call('HGET', META, 'lanes') or '', '%d+') do lanes[#lanes + 1] = tonumber(lane) end
  end
  return lanes
end

local function open_lane(lane)
  for _, open in ipairs(open_lanes()) do if open == lane then return end end
  redis.pcall('XGROUP', 'CREATE', lane_key(lane), GROUP, '0', 'MKSTREAM') -- it may be there: BUSYGROUP
  lanes[#lanes + 1] = lane
  table.sort(lanes)
  redis.call('HSET', META, 'lanes', table.concat(lanes, ' '))
end

-- Our group's pending entries and the last entry that it was given.
local function group_of(stream)
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for place = 1, #row, 2 do group[row[place]] = row[place + 1] end
    if group.name == GROUP then return group end
  end
  return redis.error_reply('NOGROUP the consumer group of ' .. stream .. ' is gone')
end

local function unread(lane)
  local group = group_of(lane_key(lane))
  if group.err then return 0 end
  return math.max(0, redis.call('XLEN', lane_key(lane)) - group.pending)
end

-- An entry's fields are a flat list of names and values.
local function place_of(fields, name)
  for place = 1, #fields, 2 do if fields[place] == name then return place + 1 end end
  return nil
end

local function field(fields, name)
  local place = place_of(fields, name)
  return place and fields[place]
end

local function set_field(fields, name, value)
  local place = place_of(fields, name)
  if place then fields[place] = value else
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end

local function entry_of(stream, id)
  local found = redis.call('XRANGE', stream, id, id)[1]
  return found and found[2]
end

local function add(stream, fields)
  if #fields > MOST_ARGUMENTS then -- nobody but a foreign sender has so many
    local object, kept = {}, {}
    for place = 1, #fields, 2 do
      local name, value = fields[place], fields[place + 1]
      if OURS[name] then set_field(kept, name, value) else object[name] = value end
    end
    fields = kept
    set_field(fields, 'data', cjson.encode(object))
  end
  return redis.call('XADD', stream, '*', unpack(fields))
end

local function put(lane, fields)
  open_lane(lane)
  return add(lane_key(lane), fields)
end

-- Keep it where nobody reads; `lane` is where it goes from there.
local function put_aside(lane, fields)
  set_field(fields, 'leveler:lane', lane)
  return add(LATER, fields)
end

-- The line of a key: <key> NUL <number> NUL <where>, in the order of sending. <where> is "r" while the message is ready
-- or leased, else its entry among those that wait. Only the first of a line is ever ready or leased.
local READY = '\0r'

local function first_in_line(key)
  return redis.call('ZRANGEBYLEX', LINE, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
end

-- Nil of what is no place in a line.
local function key_of(place) return place and string.match(place, '^(.-)%z') end

local function stand(place, where) redis.call('ZADD', LINE, 0, place .. where) end
local function leave(place, where) redis.call('ZREM', LINE, place .. where) end

-- Let the first of the key's line be ready, unless it is already or must wait for its time.
local function advance(key)
  while true do
    local first = first_in_line(key)
    if not first then return end
    local place, where = string.match(first, '^(.*)%z(.-)$')
    if where == 'r' or redis.call('ZSCORE', DUE, where) then return end
    local fields = entry_of(LATER, where)
    redis.call('ZREM', LINE, first)
    if fields then
      redis.call('XDEL', LATER, where)
      stand(place, READY)
      return put(tonumber(field(fields, 'leveler:lane')), fields)
    end
  end
end

local function done_with(place)
  local key = key_of(place)
  if key then
    leave(place, READY)
    advance(key)
  end
end

-- One more delivery that was not the last, if it counts.
local function count_delivery(fields, now)
  local known = tonumber(field(fields, 'leveler:deliveries') or 0)
  if not known or not (known >= 0) then known = 0 end
  set_field(fields, 'leveler:deliveries', math.min(math.floor(known) + 1, MOST_DELIVERIES))
  if not field(fields, 'leveler:failed') then set_field(fields, 'leveler:failed', now) end
end

-- A foreign message has no id but that of its first entry.
local function keep_origin(fields, id)
  if field(fields, 'specversion') and field(fields, 'id') then return end
  if not field(fields, 'leveler:entry') then set_field(fields, 'leveler:entry', id) end
end

local function remove(stream, id)
  redis.call('XACK', stream, GROUP, id)
  redis.call('XDEL', stream, id)
end

-- The front lane of the same priority: what has been there before comes before what is new.
local function front_of(lane) return lane - 1 + lane % 2 end
