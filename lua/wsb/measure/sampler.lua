-- The run's series, ten times a second, on the clock of the load.
--
-- A series of the server ends with the server: it is then shorter than `t`. Where nothing was to be measured
-- in an interval the value is NaN (null in result.json).

local core = require "wsb.core"
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
---@return wsb.Sampler
function sampler.new(ctx)
  return setmetatable({ ctx = ctx, series = { t = {} }, last = {}, rss_peak = 0, gauges = level_gauges(),
    lag = {} }, Sampler)
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

local function server_sample(self, now)
  local server = self.ctx.server
  if not server or not server:alive() then return end
  local proc = server.process.worker:sample()
  if not proc then return end
  local counts = server:counts()
  self.rss_peak = math.max(self.rss_peak, proc.peak)
  put(self, "rss", proc.rss)
  put(self, "server_memory", proc.rss + counts.kernel_socket_bytes)
  for _, name in ipairs(self.gauges) do
    put(self, name, counts[name])
  end
  local busy = proc.user + proc.system
  local elapsed = self.cpu_at and now - self.cpu_at or 0
  put(self, "cpu", elapsed > 0 and (busy - self.cpu_busy) / elapsed or NOTHING)
  self.cpu_at, self.cpu_busy = now, busy
  local charged = server.limit and server.limit:read()
  if charged then put(self, "limit_usage", charged.usage) end
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
