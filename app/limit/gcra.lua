-- gcra.lua decides groups of charges, one group after the other. A group is
-- charged as a whole or not at all. Times are microseconds.
--
-- KEYS     the keys of all charges
-- ARGV[1]  the time, or 0 for the clock of Redis
-- ARGV[2]  how much longer than needed a key is kept, in ms
-- then for each group the number of its charges, and for each charge
--   interval, tolerance (the interval times the units of the quota), need, cost
--
-- A key holds its theoretical arrival time (TAT). It is absent when all units are
-- there, and expires when they are.
--
-- Returns four numbers for each group: allowed (0, 1), the index of the charge that
-- decided, from 0 (-1: none), its wait, and its units left.
local now, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local replies, arg, first = {}, 3, 0
while arg <= #ARGV do
  local n = tonumber(ARGV[arg])
  local charges, tats, wait, left, decided = arg + 1, {}, 0, nil, -1
  for i = 0, n - 1 do
    local interval, tolerance = tonumber(ARGV[charges + 4 * i]), tonumber(ARGV[charges + 4 * i + 1])
    local need, cost = tonumber(ARGV[charges + 4 * i + 2]), tonumber(ARGV[charges + 4 * i + 3])
    local tat = math.max(tonumber(redis.call('GET', KEYS[first + i + 1]) or 0), now)
    tats[i] = tat
    local missing = tat + need * interval - now - tolerance
    if need > 0 and missing > wait then
      wait, decided, left = missing, i, math.max(0, math.floor((now + tolerance - tat) / interval))
    elseif wait == 0 and need > 0 then
      local remaining = math.floor((now + tolerance - tat) / interval) - cost
      if left == nil or remaining < left then
        left, decided = remaining, i
      end
    end
  end
  if wait == 0 then
    for i = 0, n - 1 do
      local interval, tolerance = tonumber(ARGV[charges + 4 * i]), tonumber(ARGV[charges + 4 * i + 1])
      local cost = tonumber(ARGV[charges + 4 * i + 3])
      if cost ~= 0 then
        local tat = math.min(tats[i] + cost * interval, math.max(tats[i], now + 2 * tolerance))
        if tat > now then
          redis.call('SET', KEYS[first + i + 1], string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000) + slack))
        else
          redis.call('DEL', KEYS[first + i + 1])
        end
      end
    end
  end
  replies[#replies + 1] = wait == 0 and 1 or 0
  replies[#replies + 1] = decided
  replies[#replies + 1] = wait
  replies[#replies + 1] = left or 0
  arg, first = charges + 4 * n, first + n
end
return replies
