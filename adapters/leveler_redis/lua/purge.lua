-- Removes up to a portion of what waits. Answers how many; nil where there is no queue.
local PORTION = 1000
if redis.call('EXISTS', META) == 0 then return false end

local function remove_all(stream, entries, is_later)
  local ids = {}
  for _, entry in ipairs(entries) do
    local place = field(entry[2], 'leveler:line')
    ids[#ids + 1] = entry[1]
    if place then leave(place, is_later and '\0' .. entry[1] or READY) end
  end
  if is_later then redis.call('ZREM', DUE, unpack(ids)) end
  redis.call('XDEL', stream, unpack(ids))
  return #ids
end

for _, lane in ipairs(open_lanes()) do
  local group = group_of(lane_key(lane))
  if group.err then return group end
  local found = redis.call('XRANGE', lane_key(lane), '(' .. group['last-delivered-id'], '+', 'COUNT', PORTION)
  if #found > 0 then return remove_all(lane_key(lane), found, false) end
end
local found = redis.call('XRANGE', LATER, '-', '+', 'COUNT', PORTION)
return #found > 0 and remove_all(LATER, found, true) or 0
