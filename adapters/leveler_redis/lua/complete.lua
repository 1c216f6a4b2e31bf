-- KEYS: the queue, and the lanes of the messages. ARGV: who, then for each lane its place in KEYS, how many, their ids
-- in order. Answers the places of those that are no longer theirs.
local me, lease, lost, index, place = ARGV[1], lease_ms(), {}, 0, 2
while ARGV[place] do
  local stream, count = KEYS[tonumber(ARGV[place])], tonumber(ARGV[place + 1])
  local ids = {unpack(ARGV, place + 2, place + 1 + count)}
  local held, done = ours(stream, me, lease, ids), ids
  for number, id in ipairs(ids) do
    if not held[id] then
      lost[#lost + 1] = index + number - 1
    end
  end
  if #lost > 0 then
    done = {}
    for _, id in ipairs(ids) do if held[id] then done[#done + 1] = id end end
  end
  if #done > 0 then
    redis.call('XACK', stream, 'leveler', unpack(done))
    redis.call('XDEL', stream, unpack(done))
  end
  place, index = place + 2 + count, index + count
end
return lost
