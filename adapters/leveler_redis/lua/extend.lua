-- KEYS and ARGV as to complete, but for the consumer, whose name stands before. Their leases begin anew.
local me, doubted_by, lost, index, place = ARGV[1], ARGV[2], {}, 0, 3
for _, stream in ipairs(KEYS) do
  local count = tonumber(ARGV[place])
  local kept, arguments = {}, {}
  for number = 1, count do
    local id = ARGV[place + number]
    if not is_lost(stream, id, doubted_by) then arguments[#arguments + 1] = id end
  end
  if #arguments > 0 then
    arguments[#arguments + 1] = 'JUSTID'
    for _, id in ipairs(redis.call('XCLAIM', stream, 'leveler', me, 0, unpack(arguments))) do kept[id] = true end
  end
  for number = 1, count do
    if not kept[ARGV[place + number]] then lost[#lost + 1] = index + number - 1 end
  end
  place, index = place + 1 + count, index + count
end
return lost
