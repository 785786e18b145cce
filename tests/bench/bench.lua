-- How near wsb's server is to what the socket calls themselves cost, beside its peers. `make bench` builds
-- what it needs and runs it.

package.path = "tests/bench/?.lua;" .. package.path
local contestants = require "contestants"
local core = require "wsb.core"
local crowd = require "crowd"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"
local figures = require "figures"
local growth = require "growth"
local json = require "wsb.report.json"
local rundir = require "wsb.report.rundir"
local stalled = require "stalled"
local tell = require "tell"

local LOADS = {
  { key = "1000", n = 1000, rate = 100, size = 128, title = "1,000 subscribers, 100/s of 128 B" },
  { key = "5000", n = 5000, rate = 20, size = 512, title = "5,000 subscribers, 20/s of 512 B" },
  -- So easy that no two messages are due at once even on a busy machine: one write a frame, as on the floor.
  { key = "200", n = 200, rate = 50, size = 128, title = "200 subscribers, 50/s of 128 B" },
}
local IDLE = 10000
local CLIMB_S = 30
local KEEPS_UP, NOT_JOINED = 0.97, 0.97
local ALL_RESUMED = 0.9
local QUICK, GROWTH = "floor,wsb,ws", "floor,wsb" -- whom a quick run, and one of growth, compare
local MEMORY = {
  { key = "plain", title = "plain" },
  { key = "deflate", title = "permessage-deflate agreed", deflate = true },
  { key = "tls", title = "TLS", tls = "ecdsa" },
}
local HANDSHAKES = { { key = "plain", title = "plain", n = 8000 } }
for _, version in ipairs { "1.3", "1.2" } do
  for _, key in ipairs { "ecdsa", "rsa" } do
    HANDSHAKES[#HANDSHAKES + 1] = { key = ("%s_%s"):format(key, version), n = 600, tls = key, max = version,
      title = ("TLS %s, %s"):format(version, key:upper()) }
  end
end

-- Figures that are quotients of two others of the same round.
local QUOTIENTS = {}
for _, h in ipairs(HANDSHAKES) do
  if h.tls then
    QUOTIENTS[#QUOTIENTS + 1] = { key = "full_resumed_" .. h.key, of = "handshakes_cpu_" .. h.key,
      over = "resumed_cpu_" .. h.key, title = h.title .. ": server CPU of a full handshake over that of a "
        .. "resumed one" }
    QUOTIENTS[#QUOTIENTS + 1] = { key = "resumed_full_" .. h.key, of = "resumed_" .. h.key,
      over = "handshakes_" .. h.key,
      title = h.title .. ": resumed handshakes a second over full ones, to be 3 or more" }
  end
end
for _, load in ipairs(LOADS) do
  QUOTIENTS[#QUOTIENTS + 1] = { key = "swarm_server_" .. load.key, of = "swarm_cpu_" .. load.key,
    over = "cpu_" .. load.key, title = "swarm CPU a message over server CPU a delivery: " .. load.title }
end

-- The figures in the order in which they are told.
local function declare()
  local list = {}
  local function add(key, title, unit) list[#list + 1] = { key = key, title = title, unit = unit } end
  for _, load in ipairs(LOADS) do
    add("cpu_" .. load.key, "server CPU a delivery: " .. load.title, "µs")
    add("delivered_" .. load.key, "delivered: " .. load.title, "of what was due")
    add("lag_p50_" .. load.key, "lag p50: " .. load.title, "ms")
    add("lag_p99_" .. load.key, "lag p99: " .. load.title, "ms")
    add("swarm_cpu_" .. load.key, "swarm CPU a message: " .. load.title, "µs")
    add("writes_" .. load.key, "write calls a frame, counted by wsb: " .. load.title, "calls")
    add("copied_" .. load.key, "bytes copied a frame, counted by wsb: " .. load.title, "bytes")
    add("allocations_" .. load.key, "allocations a frame, counted by wsb: " .. load.title, "allocations")
  end
  add("calls", "system calls a delivery: 200 subscribers, 50/s of 128 B", "calls")
  add("saturation", "saturation (99 % delivered, lag p99 < 1 s): 1,000 subscribers, 128 B", "deliveries/s")
  add("half_lag_p50", "lag p50 at half of that", "ms")
  add("half_lag_p99", "lag p99 at half of that", "ms")
  for _, m in ipairs(MEMORY) do
    add("memory_" .. m.key, "memory of an idle connection: " .. m.title, "bytes")
  end
  for _, h in ipairs(HANDSHAKES) do
    add("handshakes_" .. h.key, "handshakes: " .. h.title, "a second")
    if h.tls then add("resumed_" .. h.key, "handshakes: " .. h.title .. ", resumed", "a second") end
    add("handshakes_cpu_" .. h.key, "server CPU a handshake: " .. h.title, "µs")
    if h.tls then add("resumed_cpu_" .. h.key, "server CPU a handshake: " .. h.title .. ", resumed", "µs") end
  end
  for _, q in ipairs(QUOTIENTS) do
    list[#list + 1] = { key = q.key, title = q.title, unit = "times", base = false }
  end
  return list
end

local Bench = { __name = "Bench" }
Bench.__index = Bench

function Bench:keep(contestant, key, round, value)
  if not value then return end
  local of = self.values[contestant.name]
  of[key] = of[key] or {}
  of[key][round] = value
end

function Bench:note(...)
  local text = string.format(...)
  for _, known in ipairs(self.notes) do
    if known == text then return end
  end
  table.insert(self.notes, text)
end

-- One measurement; what cannot be measured is told, and the others go on.
function Bench:try(contestant, what, measure, ...)
  self.ctx:say(("%s: %s"):format(contestant.name, what))
  local ok, result, more = pcall(measure, contestant, ...)
  if ok then return result, more end
  if type(result) == "table" and result.signal then error(result, 0) end
  local why = type(result) == "table" and result.message or tostring(result)
  self:note("%s: %s: %s", contestant.name, what, why)
  return {}
end

function Bench:load(contestant, load, round)
  local f = self:try(contestant, load.title, figures.load, load, self.window)
  if f.delivered and f.delivered < KEEPS_UP then
    self:note("%s did not keep up with %s: its CPU a delivery is that of a server under pressure",
      contestant.name, load.title)
  end
  if f.writes and f.writes < NOT_JOINED then
    self:note("%s joined messages at %s: its CPU is to be compared with that of floor-joined as well",
      contestant.name, load.title)
  end
  self:keep(contestant, "cpu_" .. load.key, round, f.cpu)
  self:keep(contestant, "delivered_" .. load.key, round, f.delivered)
  for _, name in ipairs { "swarm_cpu", "writes", "copied", "allocations" } do
    self:keep(contestant, name .. "_" .. load.key, round, f[name])
  end
  for _, p in ipairs { "lag_p50", "lag_p99" } do
    self:keep(contestant, p .. "_" .. load.key, round, f[p] and f[p] * 1000)
  end
end

function Bench:saturation(contestant, round)
  local cpu = (self.values[contestant.name]["cpu_" .. LOADS[1].key] or {})[round]
  if not cpu then return end
  local f = self:try(contestant, "saturation", figures.saturation, LOADS[1], cpu, CLIMB_S)
  if not f.saturation then return end
  self:keep(contestant, "saturation", round, f.saturation)
  if f.limit == "readers" then
    self:note("%s: at its saturation the readers' core was busy, not only the server's: it may do more",
      contestant.name)
  end
  self:keep(contestant, "half_lag_p50", round, f.lag_p50 and f.lag_p50 * 1000)
  self:keep(contestant, "half_lag_p99", round, f.lag_p99 and f.lag_p99 * 1000)
end

local function able(contestant, how)
  return contestant.full and (contestant.tls or not how.tls) and (contestant.deflate or not how.deflate)
end

function Bench:idle(contestant)
  for _, how in ipairs(MEMORY) do
    if able(contestant, how) then
      local f = self:try(contestant, "memory, " .. how.title, figures.memory, how, self.idle_n)
      self:keep(contestant, "memory_" .. how.key, 1, f.memory)
      if f.opened and f.opened < self.idle_n then
        self:note("%s: memory, %s: only %d of %d came in", contestant.name, how.title, f.opened, self.idle_n)
      elseif f.opened and not f.memory then
        self:note("%s: does not agree to permessage-deflate", contestant.name)
      end
    end
  end
end

function Bench:shake(contestant, how, round)
  local full, again = self:try(contestant, "handshakes, " .. how.title, figures.handshakes, how, how.n)
  for name, f in pairs { handshakes = full, resumed = again } do
    if f.came and f.came < how.n then
      self:note("%s: %s, %s: only %d of %d came in", contestant.name, name, how.title, f.came, how.n)
    end
    if name == "resumed" and f.resumed < ALL_RESUMED then
      self:note("%s: %s: only %.0f %% of those that came back resumed", contestant.name, how.title,
        f.resumed * 100)
    else
      self:keep(contestant, name .. "_" .. how.key, round, f.rate)
      self:keep(contestant, name .. "_cpu_" .. how.key, round, f.cpu)
    end
  end
end

function Bench:handshakes(contestant, round)
  for _, how in ipairs(HANDSHAKES) do
    if able(contestant, how) then self:shake(contestant, how, round) end
  end
end

function Bench:round(round, quick)
  for i, load in ipairs(LOADS) do
    for _, contestant in ipairs(self.present) do
      if i ~= 2 or not quick then self:load(contestant, load, round) end
    end
  end
  if quick then return end
  for _, contestant in ipairs(self.present) do self:saturation(contestant, round) end
  for _, contestant in ipairs(self.present) do self:handshakes(contestant, round) end
end

function Bench:measure(opt)
  for round = 1, opt.rounds do self:round(round, opt.quick) end
  for _, contestant in ipairs(self.present) do
    self:keep(contestant, "calls", 1, self:try(contestant, "system calls", figures.calls).calls)
    if not opt.quick then self:idle(contestant) end
  end
end

-- What grows, of all; clients that do not read and many connections, of servers of wsb.
local PARTS = { deliveries = growth.deliveries, memory = growth.memory }

local function of_wsb(key, measure)
  return function(bench, opt)
    for _, contestant in ipairs(bench.present) do
      if contestant.name:find "^wsb" then bench[key][contestant.name] = measure(bench, contestant, opt) end
    end
  end
end
PARTS.stalled, PARTS.crowd = of_wsb("stalled", stalled.measure), of_wsb("crowds", crowd.measure)

-- Whether each part is wanted: "all", 1 (as make's other switches), or the names of some.
local function parts_of(text)
  local wanted, all = {}, text == "all" or text == "1"
  for name in pairs(PARTS) do wanted[name] = all end
  for name in (all and "" or text):gmatch "[^,]+" do
    if wanted[name] == nil then
      errors.refuse("--growth", name, "all, or some of deliveries,memory,stalled,crowd")
    end
    wanted[name] = true
  end
  return wanted
end

function Bench:grow(opt)
  local wanted = parts_of(opt.growth)
  for _, name in ipairs { "deliveries", "memory", "stalled", "crowd" } do
    if wanted[name] then PARTS[name](self, opt) end
  end
end

function Bench:divide()
  for _, contestant in ipairs(self.present) do
    local of = self.values[contestant.name]
    for _, q in ipairs(QUOTIENTS) do
      for round, value in pairs(of[q.of] or {}) do
        local divisor = (of[q.over] or {})[round]
        self:keep(contestant, q.key, round, divisor and divisor > 0 and value / divisor or nil)
      end
    end
  end
end

function Bench:order()
  local order = {}
  for i, contestant in ipairs(self.present) do order[i] = contestant.name end
  return order
end

-- The figures of `list` that have values, with their rows.
local function told_of(list, values, order)
  local told = {}
  for _, figure in ipairs(list) do
    figure.rows = tell.rows(figure, values, order)
    if #figure.rows > 0 then told[#told + 1] = figure end
  end
  return told
end

function Bench:result()
  self:divide()
  return { title = "What a delivery costs", figures = told_of(declare(), self.values, self:order()) }
end

function Bench:growth_result()
  local order, arms, told, grids = self:order(), {}, {}, {}
  for i, arm in ipairs(stalled.arms) do arms[i] = arm.name end
  for _, name in ipairs(order) do
    local values = self.stalled[name]
    for _, figure in ipairs(values and told_of(stalled.declare(), values, arms) or {}) do
      figure.title = name .. ": " .. figure.title
      told[#told + 1] = figure
    end
  end
  for _, series in ipairs(growth.series) do
    local grid = growth.grid(series, self.values, order)
    if grid.rows[1] then grids[#grids + 1] = grid end
  end
  if next(self.crowds) then grids[#grids + 1] = crowd.grid(self.crowds, order) end
  return { title = "How it grows", figures = told, grids = grids, stalled = self.stalled,
    crowds = self.crowds }
end

function Bench:charts(rounds)
  local charts = {}
  for _, series in ipairs(growth.series) do
    for _, one in ipairs(growth.charts(series, self.values, self:order(), rounds)) do
      charts[#charts + 1] = one
    end
  end
  return charts
end

-- The load on CPUs of its own, so that the server has one to itself.
local function part_cpus()
  local file = assert(io.open("/proc/self/stat"))
  local self = file:read("n")
  file:close()
  os.execute(("taskset -cp %s %d >/dev/null"):format(contestants.load_cpus, self))
end

local function write(opt, result, charts)
  local directory = rundir.create(opt.runs_dir, opt.growth ~= "" and "bench-growth" or "bench")
  directory:write("result.json", json.encode(result))
  directory:write("report.html", tell.html(result, charts))
  assert(os.rename(directory.partial, directory.path))
  directory:link_latest()
  return directory.path
end

return {
  name = "bench",
  description = "What a delivery costs, beside the socket calls alone and other servers.",
  options = {
    only = { "contestants, comma-separated, or all; when empty all, with --quick floor,wsb,ws, with --growth "
      .. "floor,wsb", "" },
    rounds = { "times that each figure is taken, the contestants alternating", 3 },
    quick = { "two loads and nothing else; with --growth shorter windows and fewer connections", false },
    growth = { "instead: how CPU and memory grow with subscribers and size of the message, what clients that "
      .. "do not read cost the others, 100,000 connections at once; all, or some of "
      .. "deliveries,memory,stalled,crowd", "" },
    runs_dir = { "where the result goes", "runs" },
  },
  run = function(ctx)
    local opt = ctx.opt
    part_cpus()
    local names = opt.growth ~= "" and GROWTH or opt.quick and QUICK or "all"
    local present, missing = contestants.choose(opt.only ~= "" and opt.only or names)
    local bench = setmetatable({ ctx = ctx, present = present, values = {}, notes = {}, stalled = {},
      crowds = {}, window = opt.quick and 2 or 1.5, idle_n = IDLE }, Bench)
    for _, one in ipairs(missing) do bench:note("missing: %s: %s", one.name, one.why) end
    for _, one in ipairs(present) do bench.values[one.name] = {} end
    local result, charts
    if opt.growth ~= "" then
      bench:grow(opt)
      result, charts = bench:growth_result(), bench:charts(opt.rounds)
    else
      bench:measure(opt)
      result = bench:result()
    end
    result.notes, result.values, result.environment = bench.notes, bench.values, environment.describe(1)
    result.machine = ("%s, wsb %s, %s"):format(core.uname().release, core.version,
      os.date("!%Y-%m-%dT%H:%M:%SZ"))
    io.stdout:write(tell.all(result), "report: ", write(opt, result, charts), "/report.html\n")
  end,
}
