-- What is measured of a contestant, each as a function that returns figures by their keys.

local cohort = require "wsb.load.cohort"
local contestants = require "contestants"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local meter = require "meter"
local saturation = require "saturation"
local task = require "wsb.base.task"

local figures = {}

local FEED = 0 -- the publisher that a server's own feed is stamped with
local WARM_S = 0.7
local IDLE_S = 2
figures.ONE_ONLY = 0.001   -- messages a second: one at once, and none after it
figures.GIVEN_BACK_S = 2.2 -- what a server takes for those on their way in, it may give back afterwards
local CONNECT_RATE, TLS_CONNECT_RATE = 4000, 1200
local AWAY_S = 1        -- from leaving to coming back
local PAUSES_RATE = 15  -- broadcasts a second, so few that a window must not begin or end within one
local PAUSE_S = 0.015   -- nothing arrives: the broadcast is over

---@param n integer
---@param options? table<string, any>  of the swarm
---@param used? table<integer, integer>  clients by source number, of those that are there already
---@return wsb.Cohort
---@async
function figures.connect(runs, n, options, used)
  local values = { url = runs.url, counted_publisher = FEED, connect_rate = CONNECT_RATE, tls_verify = false,
    connect_timeout = "60s" }
  for name, value in pairs(options or {}) do
    values[name] = value
  end
  local per_process = math.min(cohort.per_process(), math.ceil(n / #contestants.load_cpus))
  return cohort.start({ name = "bench", n = n, faults = {}, options = values, where = "bench",
    shares = cohort.deal(n, per_process, used or {}) }, function() return nil end)
end

---@param group wsb.Cohort
---@return number seconds
function figures.swarm_cpu(group)
  local sum = 0
  for _, process in ipairs(group.processes) do
    sum = sum + meter.cpu(process.worker:pid())
  end
  return sum
end

local function look(runs, group)
  return { at = core.now(), server = meter.cpu(runs.pid), swarm = figures.swarm_cpu(group),
    received = group:counts().messages_received, lag = group:hist("fanout_lag"),
    counts = runs.counts and runs.counts() }
end

-- What a server counts itself, a frame.
local function a_frame(a, b, counter)
  return a and (b[counter] - a[counter]) / (b.frames_written - a.frames_written)
end

-- Between two looks.
local function between(a, b, due)
  local received, seconds = b.received - a.received, b.at - a.at
  local lag = b.lag - a.lag
  return { received = received, seconds = seconds, delivered = received / (due * seconds),
    server_us = (b.server - a.server) / received * 1e6, swarm_us = (b.swarm - a.swarm) / received * 1e6,
    lag_p50 = received > 0 and lag:percentile(50) or math.huge,
    lag_p99 = received > 0 and lag:percentile(99) or math.huge,
    writes = a_frame(a.counts, b.counts, "writes"), copied = a_frame(a.counts, b.counts, "bytes_copied"),
    allocations = a_frame(a.counts, b.counts, "allocations") }
end

-- Waits for a broadcast to come and to be over, so that a window holds whole ones.
local function await_pause(group, rate)
  local function received() return group:counts().messages_received end
  local stop_at, last = core.now() + 3 / rate, received()
  while received() == last and core.now() < stop_at do task.sleep(0.001) end
  repeat
    last = received()
    task.sleep(PAUSE_S)
  until received() == last or core.now() > stop_at
end

local function watch(runs, group, load, seconds)
  local in_pauses = load.rate < PAUSES_RATE
  if in_pauses then await_pause(group, load.rate) end
  local before = look(runs, group)
  task.sleep(seconds)
  if in_pauses then await_pause(group, load.rate) end
  local found = between(before, look(runs, group), load.n * load.rate)
  if in_pauses then -- of whole broadcasts, however late the last of them ended
    found.delivered = found.received / (math.max(1, (found.seconds * load.rate + 0.5) // 1) * load.n)
  end
  return found
end

-- Runs body(runs, group) with `n` clients of a server that is ended afterwards.
local function with(contestant, wish, n, body, options)
  local runs, group = contestant.start(wish), nil
  return errors.finally(function()
    group = figures.connect(runs, n, options)
    local opened = group:connect()
    if opened < n then
      errors.raise(errors.ENVIRONMENT, "%s: %d of %d clients came in", contestant.name, opened, n)
    end
    group:start()
    runs.begin()
    return body(runs, group)
  end, function()
    if group then group:close() end
    runs.close()
  end)
end

---CPU of the server and of the swarm a delivered message, in microseconds, and the lag, in seconds.
---@param load {key: string, n: integer, rate: number, size: integer}
---@async
function figures.load(contestant, load, seconds)
  return with(contestant, load, load.n, function(runs, group)
    task.sleep(WARM_S)
    local w = watch(runs, group, load, seconds)
    return { cpu = w.server_us, swarm_cpu = w.swarm_us, lag_p50 = w.lag_p50, lag_p99 = w.lag_p99,
      delivered = w.delivered, writes = w.writes, copied = w.copied, allocations = w.allocations }
  end)
end

local function connect_all(runs, n)
  local group = figures.connect(runs, n)
  group:connect()
  group:start()
  return group, function() return figures.swarm_cpu(group) end
end

---The most deliveries a second with which the server keeps up, and the lag at half of them, in seconds.
---@param cpu_us number  what a delivery costs at an easy rate
---@async
function figures.saturation(contestant, load, cpu_us, seconds)
  local how = { n = load.n, size = load.size, connect = connect_all }
  local found = saturation.climb(contestant, how, cpu_us, seconds)
  if found.saturation > 0 then
    local half = saturation.lag(contestant, how, found.saturation / 2)
    found.lag_p50, found.lag_p99 = half.lag_p50, half.lag_p99
  end
  return found
end

---Memory of an idle connection, in bytes.
---@async
function figures.memory(contestant, how, n)
  local runs = contestant.start { rate = 1, size = 64, tls = how.tls, deflate = how.deflate }
  local group
  return errors.finally(function()
    local empty = meter.memory(runs.pid)
    local rate = how.tls and TLS_CONNECT_RATE or CONNECT_RATE
    group = figures.connect(runs, n, { deflate = how.deflate, connect_rate = rate })
    local opened = group:connect()
    if opened == 0 then errors.raise(errors.ENVIRONMENT, "%s: nobody came in", contestant.name) end
    task.sleep(WARM_S)
    local counts = group:counts()
    local agreed = not how.deflate or counts.clients_deflated >= opened
    return { memory = agreed and (meter.memory(runs.pid) - empty) / opened or nil, opened = opened }
  end, function()
    if group then group:close() end
    runs.close()
  end)
end

---CPU of a server whose clients are sent nothing, in seconds a second.
---@async
function figures.idle(contestant, n)
  return with(contestant, { rate = figures.ONE_ONLY, size = 64 }, n, function(runs)
    task.sleep(figures.GIVEN_BACK_S)
    local from, cpu = core.now(), meter.cpu(runs.pid)
    task.sleep(IDLE_S)
    return { idle = (meter.cpu(runs.pid) - cpu) / (core.now() - from) }
  end)
end

---Memory of a server with ever more idle connections, in bytes, by their number.
---@param counts integer[]  ascending
---@return table<integer, integer>
---@async
function figures.memory_growth(contestant, counts)
  local runs, groups, used, found = contestant.start { rate = 1, size = 64 }, {}, {}, {}
  return errors.finally(function()
    local there = 0
    for _, n in ipairs(counts) do
      if n > there then
        groups[#groups + 1] = figures.connect(runs, n - there, {}, used)
        there = there + groups[#groups]:connect()
      end
      if there < n then
        errors.raise(errors.ENVIRONMENT, "%s: %d of %d clients came in", contestant.name, there, n)
      end
      task.sleep(figures.GIVEN_BACK_S)
      found[n] = meter.memory(runs.pid)
    end
    return found
  end, function()
    for _, group in ipairs(groups) do group:close() end
    runs.close()
  end)
end

-- Waits until so many of a counter are there, and looks more often than task.wait does.
local function await(group, counter, n)
  local stop_at = core.now() + 30
  while group:counts()[counter] < n and not group:died() and core.now() < stop_at do
    task.sleep(0.002)
  end
  return group:counts()
end

-- How a server takes in `n` that come at once; `before`: what had been counted until then.
local function take_in(runs, group, n, before)
  local cpu = meter.cpu(runs.pid)
  await(group, "clients_started", before.clients_started + 1)
  local from = core.now()
  local counts = await(group, "clients_opened", before.clients_opened + n)
  local seconds, came = core.now() - from, counts.clients_opened - before.clients_opened
  if came == 0 then errors.raise(errors.ENVIRONMENT, "none of %d came in", n) end
  return { came = came, rate = came / seconds, cpu = (meter.cpu(runs.pid) - cpu) / came * 1e6,
    resumed = (counts.clients_tls_resumed - before.clients_tls_resumed) / came }
end

-- All come in, leave because of a message that is too large for them, and come back at once.
local function come_back(runs, group, n)
  await(group, "clients_opened", n)
  task.sleep(AWAY_S / 4) -- the server has subscribed the last
  runs.begin()
  await(group, "clients_waiting", n)
  task.sleep(AWAY_S / 2) -- and closed them
  local counts = group:counts()
  if counts.clients_waiting < n or counts.clients_started > n then
    errors.raise(errors.ENVIRONMENT, "some of %d were not in, or had not left when others came back", n)
  end
  return take_in(runs, group, n, counts)
end

local NOTHING = { clients_started = 0, clients_opened = 0, clients_tls_resumed = 0 }

---Handshakes a second when all come at once, the server's CPU for each, in microseconds, and the share that
---resumed: first of full ones; then, over TLS, of as many that come back, each with the newest ticket.
---@param how {tls: string?, max: string?}
---@return {came: integer, rate: number, cpu: number, resumed: number} full
---@return {came: integer, rate: number, cpu: number, resumed: number}? again
---@async
function figures.handshakes(contestant, how, n)
  local runs = contestant.start { rate = figures.ONE_ONLY, size = 64, tls = how.tls }
  local group
  local options = { connect_rate = 1e6, tls_max = how.max, tls_resume = false }
  return errors.finally(function()
    group = figures.connect(runs, n, options)
    local full = take_in(runs, group, n, NOTHING)
    if not how.tls then return full end
    group:close()
    options.tls_resume, options.max_message = true, 1
    options.reconnect, options.reconnect_base = "fixed", ("%gs"):format(AWAY_S)
    group = figures.connect(runs, n, options)
    return full, come_back(runs, group, n)
  end, function()
    if group then group:close() end
    runs.close()
  end)
end

---System calls a delivery.
---@async
function figures.calls(contestant)
  local load = { n = 200, rate = 50, size = 128 }
  return with(contestant, load, load.n, function(runs, group)
    local before = group:counts().messages_received
    local calls = meter.calls(runs.pid, 2)
    local received = group:counts().messages_received - before
    return { calls = calls and calls / received }
  end)
end

return figures
