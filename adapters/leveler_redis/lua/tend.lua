-- What falls due: delays that are over, and leases, which count as a failure. A bounded part of it at a time.
-- Answers {now, lease in ms, when the next is due, whether there is more already, then of each lane in use, if it is
-- more than one, its number and how many wait in it}; nil where there is no queue.
local MOST_DUE, MOST_ENDED, MOST_LOOKED_AT, PAUSE_MS, FORGOTTEN_MS = 100, 100, 500, 50, 3600000
local q = redis.call('HMGET', META, 'lease', 'sweep', 'counts')
if not q[1] then return false end
local now, lease, sweep, counts = now_ms(), tonumber(q[1]), tonumber(q[2]), q[3] == '1'
local more = 0

-- Delays.
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, MOST_DUE)
for _, id in ipairs(due) do
  redis.call('ZREM', DUE, id)
  local fields = entry_of(LATER, id)
  local key = fields and key_of(field(fields, 'leveler:line'))
  if key then
    advance(key)
  elseif fields then
    redis.call('XDEL', LATER, id)
    put(tonumber(field(fields, 'leveler:lane')), fields)
  end
end
if #due == MOST_DUE then more = 1 end

-- Leases. No lease can end before the one that was the oldest when all were last looked at, nor any that has begun
-- since before it has lasted; so there is no need to look before that.
local function end_lease(lane, id)
  local fields = entry_of(lane_key(lane), id)
  remove(lane_key(lane), id)
  if fields then
    keep_origin(fields, id)
    if counts then count_delivery(fields, now) end
    put(front_of(lane), fields)
  end
end

local function forget_consumers(lane)
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', lane_key(lane), GROUP)) do
    local consumer = {}
    for place = 1, #row, 2 do consumer[row[place]] = row[place + 1] end
    if consumer.pending == 0 and consumer.idle > FORGOTTEN_MS then
      redis.call('XGROUP', 'DELCONSUMER', lane_key(lane), GROUP, consumer.name)
    end
  end
end

local function look_at_leases()
  local state = redis.call('HMGET', META, 'began', 'lane', 'after', 'oldest')
  local began, at, after = tonumber(state[1] or now), tonumber(state[2] or 0), state[3] or '-'
  local oldest = tonumber(state[4] or now + lease)
  local looked, ended = 0, 0
  for _, lane in ipairs({unpack(open_lanes())}) do
    if lane >= at then
      if lane > at then after = '-' end
      local rows = redis.call('XPENDING', lane_key(lane), GROUP, after, '+', MOST_LOOKED_AT - looked)
      for _, row in ipairs(rows) do
        if looked >= MOST_LOOKED_AT or ended >= MOST_ENDED then break end
        local left = lease - row[3]
        looked, after, at = looked + 1, '(' .. row[1], lane
        if left <= 0 then
          end_lease(lane, row[1])
          ended = ended + 1
        elseif now + left < oldest then
          oldest = now + left
        end
      end
      if looked >= MOST_LOOKED_AT or ended >= MOST_ENDED then
        redis.call('HSET', META, 'began', began, 'lane', at, 'after', after, 'oldest', oldest)
        return now, 1
      end
      forget_consumers(lane)
    end
  end
  redis.call('HDEL', META, 'began', 'lane', 'after', 'oldest')
  return math.max(now + PAUSE_MS, math.min(oldest, began + lease)), 0
end

if now >= sweep or sweep > now + lease then
  local more_leases
  sweep, more_leases = look_at_leases()
  redis.call('HSET', META, 'sweep', sweep)
  more = math.max(more, more_leases)
end

local soonest = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
local answer = {now, lease, math.min(sweep, tonumber(soonest or sweep)), more}
if #open_lanes() > 1 then
  for _, lane in ipairs(open_lanes()) do
    answer[#answer + 1] = lane
    answer[#answer + 1] = unread(lane)
  end
end
return answer
