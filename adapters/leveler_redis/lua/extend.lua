-- KEYS and ARGV as to complete. Their leases begin anew.
local me, lease, lost, index, place = ARGV[1], lease_ms(), {}, 0, 2
while ARGV[place] do
  local stream, count = KEYS[tonumber(ARGV[place])], tonumber(ARGV[place + 1])
  local ids = {unpack(ARGV, place + 2, place + 1 + count)}
  local held, kept = ours(stream, me, lease, ids), {}
  for number, id in ipairs(ids) do
    if held[id] then kept[#kept + 1] = id else lost[#lost + 1] = index + number - 1 end
  end
  if #kept > 0 then
    kept[#kept + 1] = 'JUSTID'
    redis.call('XCLAIM', stream, 'leveler', me, 0, unpack(kept))
  end
  place, index = place + 2 + count, index + count
end
return lost
