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
local CONNECT_RATE, TLS_CONNECT_RATE, RESUME_RATE = 4000, 1200, 300

local function connect(runs, n, options)
  local values = { url = runs.url, counted_publisher = FEED, connect_rate = CONNECT_RATE, tls_verify = false,
    connect_timeout = "60s" }
  for name, value in pairs(options or {}) do
    values[name] = value
  end
  local per_process = math.min(cohort.per_process(), math.ceil(n / #contestants.load_cpus))
  return cohort.start({ name = "bench", n = n, faults = {}, options = values, where = "bench",
    shares = cohort.deal(n, per_process, {}) }, function() return nil end)
end

local function swarm_cpu(group)
  local sum = 0
  for _, process in ipairs(group.processes) do
    sum = sum + meter.cpu(process.worker:pid())
  end
  return sum
end

local function look(runs, group)
  return { at = core.now(), server = meter.cpu(runs.pid), swarm = swarm_cpu(group),
    received = group:counts().messages_received, lag = group:hist("fanout_lag"),
    counts = runs.counts and runs.counts() }
end

local function writes_a_frame(a, b)
  return a and (b.writes - a.writes) / (b.frames_written - a.frames_written)
end

-- Between two looks.
local function between(a, b, due)
  local received, seconds = b.received - a.received, b.at - a.at
  local lag = b.lag - a.lag
  return { received = received, rate = received / seconds, delivered = received / (due * seconds),
    server_us = (b.server - a.server) / received * 1e6, swarm_us = (b.swarm - a.swarm) / received * 1e6,
    server_busy = (b.server - a.server) / seconds, swarm_busy = (b.swarm - a.swarm) / seconds,
    lag_p50 = received > 0 and lag:percentile(50) or math.huge,
    lag_p99 = received > 0 and lag:percentile(99) or math.huge,
    writes = writes_a_frame(a.counts, b.counts) }
end

local function watch(runs, group, due, seconds)
  local before = look(runs, group)
  task.sleep(seconds)
  return between(before, look(runs, group), due)
end

-- Runs body(runs, group) with `n` clients of a server that is ended afterwards.
local function with(contestant, wish, n, body, options)
  local runs, group = contestant.start(wish), nil
  return errors.finally(function()
    group = connect(runs, n, options)
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
    local w = watch(runs, group, load.n * load.rate, seconds)
    return { cpu = w.server_us, swarm_cpu = w.swarm_us, lag_p50 = w.lag_p50, lag_p99 = w.lag_p99,
      delivered = w.delivered, writes = w.writes }
  end)
end

---The most deliveries a second with which the server keeps up.
---@param cpu_us number  what a delivery costs at an easy rate
---@async
function figures.saturation(contestant, load, cpu_us, seconds)
  return saturation(contestant, { n = load.n, size = load.size, cpu_us = cpu_us }, seconds, function(runs, n)
    local group = connect(runs, n)
    group:connect()
    group:start()
    return group, function() return swarm_cpu(group) end
  end)
end

---Memory of an idle connection, in bytes.
---@async
function figures.memory(contestant, how, n)
  local runs = contestant.start { rate = 1, size = 64, tls = how.tls, deflate = how.deflate }
  local group
  return errors.finally(function()
    local empty = meter.memory(runs.pid)
    local rate = how.tls and TLS_CONNECT_RATE or CONNECT_RATE
    group = connect(runs, n, { deflate = how.deflate, connect_rate = rate })
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

-- Waits until so many of a counter are there, and looks more often than task.wait does.
local function await(group, counter, n)
  local stop_at = core.now() + 30
  while group:counts()[counter] < n and not group:died() and core.now() < stop_at do
    task.sleep(0.002)
  end
  return group:counts()
end

---Handshakes a second when all come at once, and the server's CPU for each, in microseconds. Those that
---resume come one after the other, each with the last one's ticket, so that their number a second is the
---swarm's; the first of them, that have no ticket yet, do not count.
---@async
function figures.handshakes(contestant, how, n)
  local runs = contestant.start { rate = 1, size = 64, tls = how.tls }
  local group
  return errors.finally(function()
    local before, cpu = { clients_opened = 0, clients_tls_resumed = 0 }, meter.cpu(runs.pid)
    group = connect(runs, n, { connect_rate = how.resume and RESUME_RATE or 1e6,
      tls_resume = how.resume or false })
    local from = core.now()
    if how.resume then
      before = await(group, "clients_tls_resumed", n / 10)
      cpu = meter.cpu(runs.pid)
    end
    local counts = await(group, "clients_opened", n)
    local seconds, came = core.now() - from, counts.clients_opened - before.clients_opened
    if came <= 0 then
      errors.raise(errors.ENVIRONMENT, "%s: %d of %d came in", contestant.name, counts.clients_opened, n)
    end
    return { handshakes = not how.resume and came / seconds or nil, came = counts.clients_opened,
      handshake_cpu = (meter.cpu(runs.pid) - cpu) / came * 1e6,
      resumed = (counts.clients_tls_resumed - before.clients_tls_resumed) / came }
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
