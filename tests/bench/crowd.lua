-- 100,000 connections at once: several servers and as many swarms, since a process may have 20,000
-- descriptors here. Opened, counted, and given one broadcast each, which all have to receive.

local cohort = require "wsb.load.cohort"
local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"
local figures = require "figures"
local meter = require "meter"
local task = require "wsb.base.task"
local tell = require "tell"

local crowd = {}

local CLIENTS, QUICK_CLIENTS, MOST_EACH = 100000, 10000, 12500
local CONNECT_RATE = 2000 -- a second, of each swarm
local PATIENCE_S = 120
-- Of both ends of a connection, user space and kernel, with much to spare; and what others shall keep.
local BYTES_EACH, BYTES_LEFT = 20 * 1024, 1024 ^ 3

-- What the report tells, in its order: key, title, unit and how many of that unit a value is.
local FACTS = {
  { "opened", "connections at once" },
  { "servers", "server processes, and as many swarms" },
  { "open_s", "time to open them, s" },
  { "open_server_us", "server CPU a connection opened, µs" },
  { "open_swarm_us", "swarm CPU a connection opened, µs" },
  { "server_bytes", "server memory a connection, bytes" },
  { "swarm_bytes", "swarm memory a connection, bytes" },
  { "kernel_bytes", "kernel memory a connection, both ends: slab and socket pages, bytes" },
  { "received", "received one broadcast" },
  { "broadcast_s", "from the broadcast until the last had it, s" },
  { "lag_p99_s", "lag p99, s" },
  { "server_us", "server CPU a delivery, µs" },
  { "swarm_us", "swarm CPU a message, µs" },
}

local function meminfo()
  local found = {}
  for line in io.lines "/proc/meminfo" do
    local name, kib = line:match "^(%w+):%s*(%d+) kB"
    if name then found[name] = tonumber(kib) * 1024 end
  end
  return found
end

local function page_bytes()
  local asked = assert(io.popen "getconf PAGESIZE")
  local bytes = asked:read "n"
  asked:close()
  return bytes
end

-- Pages that the kernel holds for the data of TCP sockets.
local function tcp_pages()
  for line in io.lines "/proc/net/sockstat" do
    local pages = line:match "^TCP:.* mem (%d+)"
    if pages then return tonumber(pages) end
  end
  return 0
end

-- What the kernel of the whole machine holds, so that what others do meanwhile is in it.
local function kernel()
  return meminfo().Slab + tcp_pages() * page_bytes()
end

local function check_room(n)
  local info = meminfo()
  if info.MemAvailable < n * BYTES_EACH + BYTES_LEFT then
    errors.raise(errors.ENVIRONMENT, "memory: %s wanted for %d connections, %s available",
      core.format("size", n * BYTES_EACH + BYTES_LEFT), n, core.format("size", info.MemAvailable))
  end
  local most = tonumber(environment.knob "fs.file-max") or math.huge
  local used = tonumber((environment.knob "fs.file-nr" or ""):match "^%d+") or 0
  if used + 2 * n > most then
    errors.raise(errors.ENVIRONMENT, "descriptors: %d wanted by %d connections, %d available (fs.file-max)",
      2 * n, n, most - used)
  end
end

local Crowd = { __name = "Crowd" }
Crowd.__index = Crowd

function Crowd:server_cpu()
  local sum = 0
  for _, runs in ipairs(self.servers) do sum = sum + meter.cpu(runs.pid) end
  return sum
end

function Crowd:server_memory()
  local sum = 0
  for _, runs in ipairs(self.servers) do sum = sum + meter.memory(runs.pid) end
  return sum
end

function Crowd:swarm_cpu()
  local sum = 0
  for _, swarm in ipairs(self.swarms) do sum = sum + figures.swarm_cpu(swarm) end
  return sum
end

function Crowd:count(counter)
  local sum = 0
  for _, swarm in ipairs(self.swarms) do sum = sum + swarm:counts()[counter] end
  return sum
end

local function swarm_memory(swarm)
  local sum = 0
  for _, process in ipairs(swarm.processes) do sum = sum + meter.memory(process.worker:pid()) end
  return sum
end

-- What a swarm takes that has next to no clients.
local function swarm_alone(runs)
  local swarm = figures.connect(runs, 1)
  return errors.finally(function()
    swarm:connect()
    return swarm_memory(swarm)
  end, function() swarm:close() end)
end

-- Until all of a counter are there; ends early, with an error, when memory runs out or a process has died.
function Crowd:await(counter)
  local stop_at = core.now() + PATIENCE_S
  while self:count(counter) < self.n and core.now() < stop_at do
    if meminfo().MemAvailable < BYTES_LEFT then
      errors.raise(errors.ENVIRONMENT, "memory: less than %s are left with %d connections",
        core.format("size", BYTES_LEFT), self:count "clients_open")
    end
    for i, swarm in ipairs(self.swarms) do
      if swarm:died() or not self.servers[i].alive() then
        errors.raise(errors.ENVIRONMENT, "a process ended with %d connections: %s", self:count "clients_open",
          swarm:died() or "a server")
      end
    end
    task.sleep(0.02)
  end
  return self:count(counter)
end

function Crowd:open()
  local f, before, empty = self.facts, kernel(), self:server_memory()
  local alone = swarm_alone(self.servers[1])
  local from, cpu = core.now(), self:server_cpu()
  local used = {}
  for i, runs in ipairs(self.servers) do
    self.swarms[i] = figures.connect(runs, math.min(self.each, self.n - (i - 1) * self.each),
      { connect_rate = CONNECT_RATE, connect_timeout = ("%ds"):format(PATIENCE_S) }, used)
    used[i] = math.huge -- so that each swarm has a source address of its own
  end
  f.opened = self:await "clients_opened"
  f.open_s = core.now() - from
  f.open_server_us = (self:server_cpu() - cpu) / f.opened * 1e6
  f.open_swarm_us = self:swarm_cpu() / f.opened * 1e6
  task.sleep(figures.GIVEN_BACK_S)
  local after, swarms = kernel(), 0
  for _, swarm in ipairs(self.swarms) do swarms = swarms + swarm_memory(swarm) end
  f.server_bytes = (self:server_memory() - empty) / f.opened
  f.swarm_bytes = (swarms - #self.swarms * alone) / f.opened
  f.kernel_bytes = (after - before) / f.opened
  f.opened = self:count "clients_open"
end

function Crowd:broadcast()
  local f = self.facts
  for _, swarm in ipairs(self.swarms) do swarm:start() end
  local from, server, swarm = core.now(), self:server_cpu(), self:swarm_cpu()
  for _, runs in ipairs(self.servers) do runs.begin() end
  f.received = self:await "messages_received"
  f.broadcast_s = core.now() - from
  f.server_us = (self:server_cpu() - server) / f.received * 1e6
  f.swarm_us = (self:swarm_cpu() - swarm) / f.received * 1e6
  local lag = core.hist()
  for _, each in ipairs(self.swarms) do lag = lag + each:hist "fanout_lag" end
  f.lag_p99_s = f.received > 0 and lag:percentile(99) or math.huge
end

local function measure(contestant, self)
  check_room(self.n)
  return errors.finally(function()
    for i = 1, (self.n + self.each - 1) // self.each do
      self.servers[i] = contestant.start { rate = figures.ONE_ONLY, size = 128 }
    end
    self.facts.servers = #self.servers
    self:open()
    self:broadcast()
    return self.facts
  end, function()
    for _, swarm in ipairs(self.swarms) do swarm:close() end
    for _, runs in ipairs(self.servers) do runs.close() end
  end)
end

---@param bench table
---@param contestant bench.Contestant
---@param opt {quick: boolean}
---@return table<string, number>? facts  those that were measured before it failed among them
---@async
function crowd.measure(bench, contestant, opt)
  local n = opt.quick and QUICK_CLIENTS or CLIENTS
  local self = setmetatable({ n = n, servers = {}, swarms = {}, facts = {},
    each = math.min(opt.quick and QUICK_CLIENTS // 4 or MOST_EACH, cohort.per_process()) }, Crowd)
  bench:try(contestant, ("%d connections at once"):format(n), measure, self)
  local f = self.facts
  for _, what in ipairs { "opened", "received" } do
    if f[what] and f[what] < n then
      bench:note("%s: %d connections at once: only %d %s", contestant.name, n, f[what], what)
    end
  end
  return next(f) and f or nil
end

---@param by_name table<string, table<string, number>>  facts of contestants
---@param order string[]
---@return table grid
function crowd.grid(by_name, order)
  local names = {}
  for _, name in ipairs(order) do names[#names + 1] = by_name[name] and name or nil end
  local grid = { title = "Many connections at once", columns = { "", table.unpack(names) }, rows = {} }
  for _, fact in ipairs(FACTS) do
    local row = { fact[2] }
    for _, name in ipairs(names) do
      local value = by_name[name][fact[1]]
      row[#row + 1] = value and tell.number(value) or ""
    end
    grid.rows[#grid.rows + 1] = row
  end
  return grid
end

return crowd
