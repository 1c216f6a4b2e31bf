-- ARGV: create or verify, ordered, lease in ms, whether deliveries are counted.
-- Answers {what was missing, ordered, lease in ms, messages in it}.
local mode, ordered, lease, counts = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local BASE = 12
local has = redis.call('HMGET', META, 'ordered', 'lease')
local missing = ''
local function lack(what) missing = missing == '' and what or missing end

if redis.call('EXISTS', lane_key(BASE)) == 0 then lack('stream') elseif group_of(lane_key(BASE)).err then lack('group') end
if not has[1] then lack('queue') end
if mode == 'verify' then
  if missing ~= '' then return {missing, '', 0, 0} end
else
  if not has[1] then
    redis.call('HSET', META, 'ordered', ordered, 'lease', lease, 'counts', counts, 'lanes', BASE, 'sweep', 0)
    has = {ordered, lease}
    for lane = 1, #KEYS - FIRST_LANE do
      if redis.call('EXISTS', lane_key(lane)) == 1 then open_lane(lane) end
    end
  end
  for _, lane in ipairs(open_lanes()) do
    if redis.call('EXISTS', lane_key(lane)) == 0 or group_of(lane_key(lane)).err then
      if missing == '' then missing = 'group' end
      redis.call('XGROUP', 'CREATE', lane_key(lane), GROUP, '0', 'MKSTREAM')
    end
  end
end

local live = redis.call('XLEN', LATER)
for _, lane in ipairs(open_lanes()) do live = live + redis.call('XLEN', lane_key(lane)) end
if mode == 'create' then
  if has[1] ~= ordered and live == 0 then
    redis.call('HSET', META, 'ordered', ordered)
    has[1] = ordered
  end
  if has[1] == ordered and has[2] ~= lease then
    redis.call('HSET', META, 'lease', lease, 'sweep', 0)
    has[2] = lease
  end
end
return {missing, has[1], tonumber(has[2]), live}
