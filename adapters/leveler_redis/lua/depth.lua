-- KEYS: of the queue. Answers {ready, leased, delayed, age of the oldest that is ready in ms}; nil where there is no queue.
if redis.call('EXISTS', META) == 0 then return false end
local now, ready, leased = now_ms(), 0, 0
local delayed, oldest = redis.call('ZCARD', DUE), now
for _, lane in ipairs(open_lanes()) do
  local group = group_of(lane_key(lane))
  if group.err then return group end
  local waiting = math.max(0, redis.call('XLEN', lane_key(lane)) - group.pending)
  ready, leased = ready + waiting, leased + group.pending
  if waiting > 0 then
    local first = redis.call('XRANGE', lane_key(lane), '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
    if first then oldest = math.min(oldest, tonumber(string.match(first[1], '%d+'))) end
  end
end
return {ready + redis.call('XLEN', LATER) - delayed, leased, delayed, now - oldest}
