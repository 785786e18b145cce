-- The most deliveries a second with which a server keeps up. Nearly all of its subscribers only take
-- (sink.c), so that it is the server that is measured and not the load; a few look at what they get.

local contestants = require "contestants"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local meter = require "meter"
local program = require "wsb.load.program"
local task = require "wsb.base.task"

local PROBES = 10
local PROMPT_S = 1     -- lag p99 of a server that keeps up
local DELIVERED = 0.99 -- what it delivers of what is due
local BUSY = 0.95      -- of the load's core: what is measured then is the load
local SETTLE_S, LOOK_S = 0.3, 0.5

local function frame_size(payload)
  return payload + (payload < 126 and 2 or payload < 65536 and 4 or 10)
end

local function start_sink(runs, n, size)
  local port, target = runs.url:match "^ws://[^/:]+:(%d+)(/.*)$"
  local log = os.tmpname()
  return program.start { command = { "taskset", "-c", contestants.load_cpus, "build/bench/sink", port, target,
    tostring(n), tostring(frame_size(size)) }, ready = "open ", log = log, timeout = "30s" }, log
end

-- When the sink looked last, and what it had taken by then.
local function taken(log)
  local file = assert(io.open(log))
  file:seek("end", -math.min(200, file:seek "end"))
  local at, frames = file:read("a"):match "(%d+) (%d+)\n[^\n]*$"
  file:close()
  return (tonumber(at) or 0) / 1e9, tonumber(frames) or 0
end

local function look(load)
  local at, frames = taken(load.log)
  return { at = at, frames = frames, now = core.now(), lag = load.probes:hist "fanout_lag",
    server = meter.cpu(load.runs.pid), readers = meter.cpu(load.sink:pid()) + load.probe_cpu() }
end

local function between(load, a, b)
  local rate, lag = (b.frames - a.frames) / (b.at - a.at) / load.sinks, b.lag - a.lag
  return { rate = rate * load.n, delivered = rate / load.runs.rate, lag_p99 = lag:percentile(99) or math.huge,
    server_busy = (b.server - a.server) / (b.now - a.now),
    readers_busy = (b.readers - a.readers) / (b.now - a.now) }
end

-- Looked at from the same moment up to three times: where a window ends within a burst, some of it is
-- missing.
local function keeps_up(load)
  task.sleep(SETTLE_S)
  local before, last = look(load), nil
  for _ = 1, 3 do
    task.sleep(LOOK_S)
    last = between(load, before, look(load))
    if last.delivered >= DELIVERED and last.lag_p99 <= PROMPT_S then return true, last end
  end
  return false, last
end

-- Raises the rate until the server does not keep up, faster where it has much time left.
local function climb(load, seconds)
  local best, stop_at, last = 0, core.now() + seconds, nil
  while load.runs.alive() and core.now() < stop_at do
    local good
    good, last = keeps_up(load)
    if not good then break end
    best = math.max(best, last.rate)
    for _ = 1, last.server_busy < 0.4 and 4 or last.server_busy < 0.7 and 2 or 1 do
      load.runs.step()
      task.sleep(0.02)
    end
  end
  return { saturation = best, limit = last and last.readers_busy > BUSY and "readers" or "server" }
end

-- Runs body(load) with a server that is told to send `rate` messages a second.
local function with(contestant, how, rate, body)
  local runs = contestant.start { rate = rate, size = how.size }
  local load = { runs = runs, n = how.n, sinks = how.n - PROBES }
  return errors.finally(function()
    load.sink, load.log = start_sink(runs, load.sinks, how.size)
    load.probes, load.probe_cpu = how.connect(runs, PROBES)
    runs.begin()
    return body(load)
  end, function()
    if load.probes then load.probes:close() end
    if load.sink then
      load.sink:stop "1s"
      load.sink:close()
      os.remove(load.log)
    end
    runs.close()
  end)
end

local saturation = {}

---@class bench.Crowd
---@field n integer
---@field size integer
---@field connect fun(runs: bench.Runs, n: integer): wsb.Cohort, fun(): number  clients that are in, and what
---tells their CPU

---The most deliveries a second.
---@param contestant bench.Contestant
---@param how bench.Crowd
---@param cpu_us number   what a delivery costs at an easy rate
---@param seconds number  to climb for
---@return {saturation: number, limit: string}
---@async
function saturation.climb(contestant, how, cpu_us, seconds)
  local result
  for _, share in ipairs { 0.3, 0.08 } do -- of what its CPU for each delivery lets expect
    local rate = share * 1e6 / cpu_us / how.n
    result = with(contestant, how, rate, function(load) return climb(load, seconds) end)
    if result.saturation > 0 then break end
  end
  return result
end

---The lag at so many deliveries a second, in seconds.
---@param contestant bench.Contestant
---@param how bench.Crowd
---@return {lag_p50: number, lag_p99: number}
---@async
function saturation.lag(contestant, how, deliveries)
  return with(contestant, how, deliveries / how.n, function(load)
    task.sleep(SETTLE_S)
    local before = load.probes:hist "fanout_lag"
    task.sleep(2 * LOOK_S)
    local lag = load.probes:hist "fanout_lag" - before
    return { lag_p50 = lag:percentile(50) or math.huge, lag_p99 = lag:percentile(99) or math.huge }
  end)
end

return saturation
