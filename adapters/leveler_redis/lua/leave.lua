-- ARGV: who. A consumer that goes away leaves no trace, unless it still has messages: those must be given to others
-- first, and deleting a consumer deletes what it holds.
for _, lane in ipairs(open_lanes()) do
  if redis.call('EXISTS', lane_key(lane)) == 1 and #redis.call('XPENDING', lane_key(lane), GROUP, '-', '+', 1, ARGV[1]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, ARGV[1])
  end
end
return true
