-- KEYS: the mark of a rate (a hash), who asked for it (a sorted set). ARGV: who asks, how many starts; then in
-- microseconds the interval, how far ahead a stretch may begin, how late it may be, and for how long an asker is counted.
-- Answers {wait of the stretch in microseconds, starts, askers}. What is decided is `reserve` in leveler/schedule.py.
local MARK, ASKERS, holder, count = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local interval, ahead, late, present = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- So long after the last start that is due nobody can be wrong about it any more.
local KEPT = 3600000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

redis.call('ZADD', ASKERS, now, holder)
redis.call('ZREMRANGEBYSCORE', ASKERS, '-inf', now - present)
redis.call('ZREMRANGEBYSCORE', ASKERS, '(' .. string.format('%.0f', now), '+inf') -- before the clock was set back
redis.call('PEXPIRE', ASKERS, math.ceil(present / 1000) + KEPT)
local workers = redis.call('ZCARD', ASKERS)

local begin = now - late
local mark = redis.call('HMGET', MARK, 'due', 'length')
local due, length = tonumber(mark[1] or ''), tonumber(mark[2] or '')
if due and length and due <= now + ahead + length then begin = math.max(begin, due) end
if begin > now + ahead then return {math.ceil(begin - now - ahead), 0, workers} end
length = count * interval
redis.call('HSET', MARK, 'due', string.format('%.17g', begin + length), 'length', string.format('%.17g', length))
redis.call('PEXPIRE', MARK, math.ceil(math.max(0, begin + length - now) / 1000) + KEPT)
return {math.ceil(begin - now), count, workers}
