-- Clients that behave alike: a cohort, held by one swarm process or, when there are many, by several.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local network = require "wsb.load.network"
local process = require "wsb.load.process"
local task = require "wsb.base.task"
local units = require "wsb.base.units"

local cohort = {}

local ATTEMPTS_A_MINUTE = 10 -- of a client that comes back, as many as its share of ports allows for
local SPARE_DESCRIPTORS = 64 -- what a process needs beside its connections
local CONNECT_GRACE_S = 30

---@class wsb.Cohort
---@field name string
---@field n integer                 clients
---@field faults {type: string, label: string, from_s: number, to_s: number?}[]  on the clock of the load
---@field options table<string, string|number|boolean>
---@field opened integer?           clients that connected
---@field failed integer?           clients that did not
---@field connect_s number?         from the first attempt until all had connected or failed for good
---@field processes wsb.Process[]
---@field stopped boolean?          asked to end
local Cohort = { __name = "wsb.Cohort" }
Cohort.__index = Cohort

---How many clients may share a source address. Each attempt of those that come back takes a port, and keeps
---it for a minute after it has been given up.
---@param options table<string, any>  of the swarm
---@return integer
function cohort.per_source(options)
  if (options.reconnect or "none") == "none" then return network.PER_SOURCE end
  return math.max(1, network.ports(math.huge) // ATTEMPTS_A_MINUTE)
end

---How n clients are dealt out: at most `per_source` from one source address, and no more in one process than
---its descriptors allow. `used` (clients by source number) is brought up to date.
---@param n integer
---@param per_process integer
---@param used table<integer, integer>
---@param per_source? integer  14,000
---@return {clients: integer, source: integer}[]
function cohort.deal(n, per_process, used, per_source)
  per_source = per_source or network.PER_SOURCE
  local shares, source = {}, 1
  while n > 0 do
    local room = per_source - (used[source] or 0)
    local share = math.min(n, room, per_process)
    if share > 0 then
      shares[#shares + 1] = { clients = share, source = source }
      used[source] = (used[source] or 0) + share
      n = n - share
    end
    if (used[source] or 0) >= per_source then source = source + 1 end
  end
  return shares
end

---Raises status 69 when the shares need more source addresses than there are: 127.0.0.0/8 serves loopback
---only.
---@param spec {n: integer, shares: {source: integer}[], options: table, where: string}
function cohort.check_sources(spec)
  local last = spec.shares[#spec.shares]
  if last.source == 1 or tostring(spec.options.url):find("^wss?://127%.") then return end
  if tostring(spec.options.url):find "^wss?://localhost[:/]" then return end
  errors.raise(errors.ENVIRONMENT, "%s: %d clients need %d source addresses, and only 127.0.0.0/8 has more "
    .. "than one here (url is %s): use fewer clients, or a server on 127.0.0.1", spec.where, spec.n,
    last.source, spec.options.url)
end

---Raises status 69 when one process may not have as many connections.
---@param n integer
---@param what string
---@param remedy string
function cohort.check_descriptors(n, what, remedy)
  local wanted, available = n + SPARE_DESCRIPTORS, core.descriptor_limit().hard
  if wanted > available then
    errors.raise(errors.ENVIRONMENT, "descriptors: %d wanted by %s, %d available: raise the hard limit "
      .. "(`ulimit -Hn %d` as root), or %s", wanted, what, available, wanted, remedy)
  end
end

---@return integer  clients that one swarm process can hold
function cohort.per_process()
  return core.descriptor_limit().hard - SPARE_DESCRIPTORS
end

local function duration(where, value)
  local seconds, accepted = units.read("duration", value)
  if not seconds then errors.refuse(where, value, accepted) end
  return seconds
end

local FAULTS = {}

function FAULTS.stall(fault, options, where)
  local from = duration(where .. ".after", fault.after or 0)
  local length = fault.duration and duration(where .. ".duration", fault.duration)
  options.stall_after = math.max(from, 0.001) -- 0 would mean never
  options.stall_duration = length
  return { type = "stall", label = "does not read", from_s = from, to_s = length and from + length }
end

function FAULTS.slow(fault, options, where)
  if fault.rate == nil then
    errors.raise(errors.SCRIPT, "%s.rate: missing: give one such as 16KiB/s", where)
  end
  options.read_rate = fault.rate
  return { type = "slow", label = ("reads %s"):format(fault.rate), from_s = 0 }
end

local FIELDS = { stall = { type = true, after = true, duration = true }, slow = { type = true, rate = true } }

---Turns `faults` of a script into swarm options, which are added to `options`.
---@param faults table[]
---@param options table<string, string|number|boolean>
---@param where string
---@return {type: string, label: string, from_s: number, to_s: number?}[]
function cohort.read_faults(faults, options, where)
  local read = {}
  for i, fault in ipairs(faults) do
    local here = ("%s.faults[%d]"):format(where, i)
    local kind = FAULTS[fault.type]
    if not kind then
      errors.raise(errors.SCRIPT, "%s.type: '%s' is not accepted: give stall or slow", here, fault.type)
    end
    for field in pairs(fault) do
      if not FIELDS[fault.type][field] then
        errors.raise(errors.SCRIPT, "%s.%s: no such field of a %s fault", here, field, fault.type)
      end
    end
    read[i] = kind(fault, options, here)
  end
  return read
end

-- Answers clients that ask when to come back ("ID=ATTEMPT PREVIOUS_MS CODE"), by a function of the script.
local function answer(policy, asked, where)
  local answers = {}
  for id, facts in pairs(asked) do
    local attempt, previous_ms, code = facts:match("^(%d+) (%d+) (%d+)$")
    local seconds = policy(math.tointeger(attempt), tonumber(previous_ms) / 1000, math.tointeger(code))
    if seconds ~= nil and (type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds) then
      errors.refuse(where .. ".reconnect(attempt, previous, code)", seconds, "seconds, or nil to give up")
    end
    answers[id] = seconds and ("%d"):format(math.min(seconds * 1000, 1e9) // 1) or "never"
  end
  return answers
end

local function start_process(spec, values, log)
  local policy, started = values.reconnect, nil
  local how = { label = "swarm " .. spec.name, where = spec.where, log = log }
  if type(policy) == "function" then
    values.reconnect = "script"
    how.on = { retries = function(asked) started:tell("retry", answer(policy, asked, spec.where)) end }
  end
  started = process.start("swarm", values, how)
  return started
end

---@param spec {name: string, n: integer, faults: table[], options: table, shares: table[], where: string}
---@param log fun(name: string): string?
---@return wsb.Cohort
---@async
function cohort.start(spec, log)
  local self = setmetatable({ name = spec.name, n = spec.n, faults = spec.faults, options = spec.options,
    processes = {} }, Cohort)
  local ok, err = xpcall(function()
    for i, share in ipairs(spec.shares) do
      local values = {}
      for name, value in pairs(spec.options) do
        values[name] = value
      end
      values.cohort, values.clients = spec.name, share.clients
      values.seed = (values.seed or 1) + i - 1
      if share.source > 1 then values.source = ("127.0.0.%d"):format(share.source) end
      self.processes[i] = start_process(spec, values, log(("%s-%d"):format(spec.name, i)))
    end
  end, errors.handler)
  if not ok then
    self:close()
    error(err, 0)
  end
  self.began_at = core.now() -- they connect since they said that they are ready
  return self
end

---Waits until every client has connected or failed.
---@return integer opened
---@return integer failed
---@async
function Cohort:connect()
  local patience = CONNECT_GRACE_S + self.n / 1000
  local function settled() return self:every(function(p) return p.notices.connected or p.exit end) end
  if task.wait(settled, patience) then self.connect_s = core.now() - self.began_at end
  self.opened, self.failed = 0, 0
  for _, p in ipairs(self.processes) do
    self.opened = self.opened + (tonumber((p.notices.connected or {}).opened) or 0)
  end
  self.failed = self.n - self.opened
  return self.opened, self.failed
end

---@param holds fun(p: wsb.Process): any
---@return boolean
function Cohort:every(holds)
  for _, p in ipairs(self.processes) do
    if not holds(p) then return false end
  end
  return true
end

---Begins the schedule: faults and publishing.
---@async
function Cohort:start()
  for _, p in ipairs(self.processes) do
    if p:alive() then p:request("start") end
  end
end

---Whether its clients connect again when they have lost their connection.
---@return boolean
function Cohort:comes_back()
  return (self.options.reconnect or "none") ~= "none"
end

---Whether the publishing schedule is over.
---@return boolean
function Cohort:finished()
  return self:every(function(p) return p.notices.finished or p.exit end)
end

---How its first process ended that was not asked to, or nil.
---@return string?
function Cohort:died()
  for _, p in ipairs(self.processes) do
    if p.exit and not (self.stopped and p.exit.code == 0) then return p:epitaph() end
  end
  return nil
end

---The swarm counters of count.def, summed over its processes, of which an empty cohort has none.
---@return table<string, integer>
function Cohort:counts()
  local sum = {}
  for _, metric in ipairs(core.metrics()) do
    if metric.role == "swarm" and metric.kind ~= "histogram" then sum[metric.name] = 0 end
  end
  for _, p in ipairs(self.processes) do
    for name, value in pairs(p.worker:counts()) do
      sum[name] = (sum[name] or 0) + value
    end
  end
  return sum
end

---@param name string  of count.def
---@return wsb.Hist
function Cohort:hist(name)
  local sum = core.hist()
  for _, p in ipairs(self.processes) do
    sum = sum + p.worker:hist(name)
  end
  return sum
end

---@return table<integer, {sent: integer, seen: integer}>  by close code
function Cohort:closes()
  local sum = {}
  for _, p in ipairs(self.processes) do
    for code, row in pairs(p.worker:closes()) do
      sum[code] = sum[code] or { sent = 0, seen = 0 }
      sum[code].sent, sum[code].seen = sum[code].sent + row.sent, sum[code].seen + row.seen
    end
  end
  return sum
end

---Closes all its connections and ends its processes.
---@async
function Cohort:stop()
  self.stopped = true
  for _, p in ipairs(self.processes) do
    p:finish("stop", 2)
  end
end

---Kills what still runs. Idempotent.
function Cohort:close()
  for _, p in ipairs(self.processes) do
    p:close()
  end
end

return cohort
