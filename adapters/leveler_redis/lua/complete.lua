-- KEYS: the lanes of the messages. ARGV: for each lane how many, and their ids. Answers the places of those that were
-- lost. An entry is given to one consumer and to no other: what comes back is a new one. So whoever has an id that is
-- still there holds its lease.
local lost, index, place = {}, 0, 1
for _, stream in ipairs(KEYS) do
  local count = tonumber(ARGV[place])
  local ids = {unpack(ARGV, place + 1, place + count)}
  if redis.call('XACK', stream, 'leveler', unpack(ids)) == count then
    redis.call('XDEL', stream, unpack(ids))
  else
    for number, id in ipairs(ids) do
      if redis.call('XDEL', stream, id) == 0 then lost[#lost + 1] = index + number - 1 end
    end
  end
  place, index = place + 1 + count, index + count
end
return lost
