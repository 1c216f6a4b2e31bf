-- An entry is given to one consumer and to no other: what comes back is a new one. So whoever has an id that is still
-- there holds its lease. Only a server that has lost what it knew may give an id for the second time: after each
-- reconnection what was read before is looked up.
local function is_lost(stream, id, doubted_by)
  return doubted_by ~= '' and #redis.call('XPENDING', stream, 'leveler', id, id, 1, doubted_by) == 0
end
