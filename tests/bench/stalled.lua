-- What clients that do not read cost those that do: a tenth of them reads, is not there, is evicted at the
-- mark, or stays and has its oldest messages dropped. They alternate, and everything else is the same.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local figures = require "figures"
local meter = require "meter"
local task = require "wsb.base.task"

local stalled = {}

local HEALTHY, OTHERS = 900, 100
local RATE, SIZE, MARK = 50, 1024, "32KiB" -- the kernel's buffers and the mark are full within two seconds
local WINDOW_S, QUICK_WINDOW_S = 6, 3

-- Those that read are of one swarm, so that two do not share the CPU where there are no stalled.
---@type {name: string, healthy: integer, stalled: integer, policy: string}[]
stalled.arms = {
  { name = "1,000 read", healthy = HEALTHY + OTHERS, stalled = 0, policy = "close" },
  { name = "900 alone", healthy = HEALTHY, stalled = 0, policy = "close" },
  { name = "100 stalled, evicted", healthy = HEALTHY, stalled = OTHERS, policy = "close" },
  { name = "100 stalled, stay", healthy = HEALTHY, stalled = OTHERS, policy = "drop-oldest" },
}

stalled.title = "900 healthy and 100 others, 50/s of 1 KiB, mark of 32 KiB"

local FIGURES = {
  { "p50", "lag p50 of the healthy", "ms" },
  { "p99", "lag p99 of the healthy", "ms" },
  { "delivered", "delivered to the healthy", "of what was due" },
  { "cpu", "server CPU a delivery to the healthy", "µs" },
  { "gone", "evicted of the others", "clients" },
}

---The figures of a contestant; each has the arms as its rows.
---@return {key: string, title: string, unit: string, base: string, of_medians: boolean}[]
function stalled.declare()
  local list = {}
  for _, one in ipairs(FIGURES) do
    list[#list + 1] = { key = "stalled_" .. one[1], title = one[2] .. ": " .. stalled.title,
      unit = one[3], base = stalled.arms[1].name, of_medians = true }
  end
  return list
end

local function look(runs, healthy)
  return { at = core.now(), cpu = meter.cpu(runs.pid), received = healthy:counts().messages_received,
    lag = healthy:hist("fanout_lag") }
end

local function came_in(group, what)
  local opened, failed = group:connect()
  if failed > 0 then errors.raise(errors.ENVIRONMENT, "%s: %d of %d came in", what, opened, group.n) end
end

local function watch(runs, healthy, others, seconds)
  healthy:start()
  if others then others:start() end -- from now on they stall
  runs.begin()
  local a = look(runs, healthy)
  task.sleep(seconds)
  local b, counts = look(runs, healthy), runs.counts()
  local received, lag = b.received - a.received, b.lag - a.lag
  if received == 0 then errors.raise(errors.ENVIRONMENT, "nothing arrived") end
  return { p50 = lag:percentile(50) * 1000, p99 = lag:percentile(99) * 1000,
    cpu = (b.cpu - a.cpu) / received * 1e6, delivered = received / (healthy.n * RATE * (b.at - a.at)),
    gone = counts.evictions_mark, dropped = counts.deliveries_dropped }
end

-- One arm, on a server of its own.
local function measure(contestant, arm, seconds)
  local runs = contestant.start { rate = RATE, size = SIZE,
    options = { high_water_mark = MARK, on_overflow = arm.policy, send_buffer = "16KiB",
      log = "error" } }
  local healthy, others
  return errors.finally(function()
    local used = {}
    healthy = figures.connect(runs, arm.healthy, {}, used)
    came_in(healthy, "healthy")
    if arm.stalled > 0 then
      others = figures.connect(runs, arm.stalled, { receive_buffer = "4KiB", stall_after = "1ms" }, used)
      came_in(others, "stalled")
    end
    return watch(runs, healthy, others, seconds)
  end, function()
    if healthy then healthy:close() end
    if others then others:close() end
    runs.close()
  end)
end

-- Whether the arm was what its name says.
local function check(bench, contestant, arm, f)
  local wanted = arm.policy == "close" and arm.stalled or 0
  if f.gone and f.gone ~= wanted then
    bench:note("%s, %s: %d clients were evicted, not %d", contestant.name, arm.name, f.gone, wanted)
  end
  if f.dropped == 0 and arm.policy ~= "close" then
    bench:note("%s, %s: the stalled never came to the mark", contestant.name, arm.name)
  end
end

---@param bench table
---@param contestant bench.Contestant  a server of wsb
---@param opt {rounds: integer, quick: boolean}
---@return table<string, table<string, table<integer, number>>> values  by arm, figure and round
---@async
function stalled.measure(bench, contestant, opt)
  local values = {}
  for _, arm in ipairs(stalled.arms) do values[arm.name] = {} end
  for round = 1, opt.rounds do
    for i = 1, #stalled.arms do
      local arm = stalled.arms[(i + round) % #stalled.arms + 1] -- another one first in each round
      local f = bench:try(contestant, arm.name, measure, arm, opt.quick and QUICK_WINDOW_S or WINDOW_S)
      check(bench, contestant, arm, f)
      for _, figure in ipairs(stalled.declare()) do
        local of = values[arm.name]
        of[figure.key] = of[figure.key] or {}
        of[figure.key][round] = f[figure.key:match "^stalled_(.+)$"]
      end
    end
  end
  return values
end

return stalled
