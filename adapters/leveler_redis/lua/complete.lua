-- KEYS: the lanes of the messages. ARGV: the consumer, if it doubts that these are its own, else nothing; then for each
-- lane how many, and their ids. Answers the places of those that were lost.
local doubted_by, lost, index, place = ARGV[1], {}, 0, 2
for _, stream in ipairs(KEYS) do
  local count = tonumber(ARGV[place])
  local ids = {unpack(ARGV, place + 1, place + count)}
  if doubted_by == '' and redis.call('XACK', stream, 'leveler', unpack(ids)) == count then
    redis.call('XDEL', stream, unpack(ids))
  else
    for number, id in ipairs(ids) do
      local gone = is_lost(stream, id, doubted_by)
      if not gone then
        redis.call('XACK', stream, 'leveler', id)
        gone = redis.call('XDEL', stream, id) == 0
      end
      if gone then lost[#lost + 1] = index + number - 1 end
    end
  end
  place, index = place + 1 + count, index + count
end
return lost
