-- The run's series, ten times a second, on the clock of the load.
--
-- A series of the server ends with the server: it is then shorter than `t`. Where nothing was to be measured
-- in an interval the value is NaN (null in result.json).

local core = require "wsb.core"
local count = require "wsb.measure.count"
local selector = require "wsb.measure.selector"
local task = require "wsb.base.task"

local sampler = {}

local INTERVAL_S = 0.1
local NOTHING = 0 / 0

---@class wsb.Sampler
---@field series table<string, number[]>   t in seconds; bytes, ratio or seconds
---@field last table<string, number>       newest value of each, kept after death
---@field rss_peak integer                 VmHWM, bytes
---@field private ctx wsb.Context
---@field private gauges string[]
---@field private wanted wsb.Sampled[]
local Sampler = { __name = "wsb.Sampler" }
Sampler.__index = Sampler

-- The server gauges of count.def that are a level (a peak, or a size left behind by a crash, is not).
local function level_gauges()
  local names = {}
  for _, metric in ipairs(core.metrics()) do
    local level = not metric.name:find("_peak$") and metric.name ~= "memory_refused_bytes"
    if metric.role == "server" and metric.kind == "gauge" and level then table.insert(names, metric.name) end
  end
  return names
end

---@param ctx wsb.Context
---@param wanted? wsb.Sampled[]  series beside those that are always there
---@return wsb.Sampler
function sampler.new(ctx, wanted)
  return setmetatable({ ctx = ctx, series = { t = {} }, last = {}, rss_peak = 0, gauges = level_gauges(),
    wanted = wanted or {}, rates = {}, lag = {}, busy = {} }, Sampler)
end

local function put(self, name, value)
  local series = self.series[name]
  if not series then
    series = {}
    self.series[name] = series
  end
  series[#series + 1] = value
  if value == value then self.last[name] = value end
end

-- A series of the server ends with the server, and has a gap when that comes back.
local function put_now(self, name, value)
  local series = self.series[name] or {}
  for _ = #series + 2, #self.series.t do
    put(self, name, NOTHING)
  end
  put(self, name, value)
end

-- Processor time since the last sample, of one server; a restarted one begins at zero.
local function cpu_since(self, server, proc, now)
  local before, busy = self.busy[server], proc.user + proc.system
  self.busy[server] = { pid = server:pid(), busy = busy, at = now }
  if not before or before.pid ~= server:pid() or now <= before.at then return 0 end
  return (busy - before.busy) / (now - before.at)
end

-- All that live, together.
local function server_sample(self, now)
  local sums, alive = {}, false
  local function add(name, value)
    sums[name] = (sums[name] or 0) + value
  end
  for _, server in ipairs(self.ctx.servers) do
    local proc = server:alive() and server.process.worker:sample()
    if proc then
      alive = true
      self.rss_peak = math.max(self.rss_peak, proc.peak)
      add("rss", proc.rss)
      add("cpu", cpu_since(self, server, proc, now))
      local counts = server:counts()
      if not server.foreign then -- whose sockets nobody here can look into
        add("server_memory", proc.rss + counts.kernel_socket_bytes)
        for _, name in ipairs(self.gauges) do
          add(name, counts[name])
        end
      end
      local charged = server.limit and server.limit:read()
      if charged then add("limit_usage", charged.usage) end
    end
  end
  if not alive then return end
  for name, value in pairs(sums) do
    put_now(self, name, value)
  end
end

-- A counter as it stands, over all that count it; nil where nobody does.
local function read(ctx, wanted, metric, network)
  if metric.role == "network" then return network[wanted.name] end
  local groups = metric.role == "server" and ctx.servers or ctx.cohorts
  if wanted.name:find("^publish_") then groups = ctx.publishers end
  local only, sum = wanted.tags.cohort or wanted.tags.server, nil
  for _, group in ipairs(groups) do
    local value = (not only or group.name == only) and group:counts()[wanted.name]
    if value then sum = (sum or 0) + value end
  end
  return sum
end

local function wanted_samples(self, now)
  local network = #self.wanted > 0 and count.network() or {}
  for _, wanted in ipairs(self.wanted) do
    local value = read(self.ctx, wanted, selector.declared(wanted.name), network)
    if wanted.rate then
      local before = self.rates[wanted.key]
      self.rates[wanted.key] = value and { value = value, at = now }
      value = value and before and now > before.at and (value - before.value) / (now - before.at) or nil
    end
    put(self, wanted.key, value or NOTHING)
  end
end

-- The 99th percentile of what was recorded since the last sample.
local function interval_p99(self, key, hist)
  local before = self.lag[key]
  self.lag[key] = hist
  local since = before and hist - before or hist
  return since:count() > 0 and since:percentile(99) or NOTHING
end

local function cohort_samples(self)
  local healthy = core.hist()
  for _, group in ipairs(self.ctx.cohorts) do
    put(self, ("received{cohort:%s}"):format(group.name), group:counts().messages_received)
    if #group.faults == 0 then healthy = healthy + group:hist("fanout_lag") end
  end
  put(self, "fanout_lag_p99", interval_p99(self, "fanout_lag", healthy))
  local lateness = core.hist()
  for _, group in ipairs(self.ctx.publishers) do
    lateness = lateness + group:hist("publish_lateness")
  end
  put(self, "publish_lateness_p99", interval_p99(self, "publish_lateness", lateness))
end

---Takes one sample now.
function Sampler:sample()
  local now = core.now()
  put(self, "t", now - self.ctx.started_at)
  server_sample(self, now)
  wanted_samples(self, now)
  cohort_samples(self)
end

---Samples until its task is cancelled; calls `after` each time.
---@param after fun()
---@return wsb.Task
function Sampler:run(after)
  return task.spawn(function()
    local due = core.now()
    while true do
      self:sample()
      after()
      due = math.max(due + INTERVAL_S, core.now())
      task.sleep(due - core.now())
    end
  end)
end

return sampler
