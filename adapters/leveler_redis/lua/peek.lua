-- ARGV: how many. Answers {entries that are ready, entries that wait for something}; nil where there is no queue.
if redis.call('EXISTS', META) == 0 then return false end
local limit, ready, waiting = tonumber(ARGV[1]), {}, {}
for _, lane in ipairs(open_lanes()) do
  local group = group_of(lane_key(lane))
  if group.err then return group end
  local from = '(' .. group['last-delivered-id']
  for _, entry in ipairs(redis.call('XRANGE', lane_key(lane), from, '+', 'COUNT', limit - #ready)) do
    ready[#ready + 1] = entry
  end
  if #ready >= limit then return {ready, waiting} end
end
if redis.call('HGET', META, 'ordered') == '1' then
  return {ready, redis.call('XRANGE', LATER, '-', '+', 'COUNT', limit - #ready)}
end
for _, id in ipairs(redis.call('ZRANGE', DUE, 0, limit - #ready - 1)) do
  for _, entry in ipairs(redis.call('XRANGE', LATER, id, id)) do waiting[#waiting + 1] = entry end
end
return {ready, waiting}
