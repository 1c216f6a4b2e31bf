-- KEYS and ARGV as to complete, but for the consumer, who comes first. Their leases begin anew.
local me, lost, index, place = ARGV[1], {}, 0, 2
for _, stream in ipairs(KEYS) do
  local count = tonumber(ARGV[place])
  local ids = {unpack(ARGV, place + 1, place + count)}
  local arguments = {unpack(ids)}
  arguments[count + 1] = 'JUSTID'
  local kept = {}
  for _, id in ipairs(redis.call('XCLAIM', stream, 'leveler', me, 0, unpack(arguments))) do kept[id] = true end
  for number, id in ipairs(ids) do
    if not kept[id] then lost[#lost + 1] = index + number - 1 end
  end
  place, index = place + 1 + count, index + count
end
return lost
