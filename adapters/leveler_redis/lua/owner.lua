-- Those of `ids` that `me` holds a lease on, as a set: pending, ours, and not idle for as long as a lease lasts.
-- One range finds all of a dense batch; what it has no room for is asked for one by one.
local function ours(stream, me, lease, ids)
  local held, low, high = {}, ids[1], ids[#ids]
  local rows = redis.call('XPENDING', stream, 'leveler', low, high, 2 * #ids + 16, me)
  for _, row in ipairs(rows) do held[row[1]] = row[3] < lease end
  if #rows == 2 * #ids + 16 then
    for _, id in ipairs(ids) do
      if held[id] == nil then
        local row = redis.call('XPENDING', stream, 'leveler', id, id, 1, me)[1]
        held[id] = row ~= nil and row[3] < lease
      end
    end
  end
  return held
end

local function lease_ms() return tonumber(redis.call('HGET', KEYS[1], 'lease') or 0) end
