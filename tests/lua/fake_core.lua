-- A stand-in for wsb.core: a clock that only core.turn moves, events as a test queues them, the tables read
-- from the .def files, histograms that keep every value. Require it before anything of wsb.

local fake = { home = ".", version = "0.0-test", time = 100.0, queue = {} }

local function read(path)
  local file = assert(io.open(path, "r"))
  local text = file:read("a")
  file:close()
  return text
end

local function choices_of(text)
  local list = {}
  for choice in text:gmatch("[^|]+") do
    list[#list + 1] = choice
  end
  return list
end

local options = { server = {}, swarm = {} }
for role, name, kind, default, when, choices, help in read("core/role/config.def"):gmatch(
  '\n(%u+)%(([%l_]+), (%u[%u_]+), "(.-)", (%u+), "(.-)",%s*"(.-)"%)') do
  table.insert(options[role:lower()], { name = name, type = kind:lower(), default = default,
    live = when == "LIVE", choices = kind == "CHOICE" and choices_of(choices) or nil, help = help })
end

local metrics = {}
local counts = read("core/base/count.def")
for role, name, kind, unit, help in counts:gmatch('\nCOUNT%((%l+), ([%l%d_]+), (%u+), "(.-)", "(.-)"%)') do
  table.insert(metrics, { role = role, name = name, kind = kind:lower(), unit = unit, help = help })
end
for role, name, help in counts:gmatch('\nHIST%((%l+), ([%l_]+), "(.-)"%)') do
  table.insert(metrics, { role = role, name = name, kind = "histogram", unit = "seconds", help = help })
end

function fake.options(role) return options[role] end
function fake.metrics() return metrics end
function fake.now() return fake.time end
function fake.isatty() return false end
function fake.columns() return 80 end
function fake.descriptor_limit() return { soft = 1024, hard = 20000 } end

local UNITS = {
  count = { [""] = 1, k = 1e3, M = 1e6 },
  size = { [""] = 1, B = 1, KiB = 1024, MiB = 1024 ^ 2, GiB = 1024 ^ 3, kB = 1e3, MB = 1e6, GB = 1e9 },
  duration = { us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600 },
  rate = { [""] = 1, ["/s"] = 1, ["/m"] = 1 / 60, ["/h"] = 1 / 3600 },
  byte_rate = { ["/s"] = 1, ["KiB/s"] = 1024, ["MiB/s"] = 1024 ^ 2 },
  ratio = { [""] = 1, ["%"] = 0.01 },
}
local ACCEPTED = { count = "a whole number, such as 500 or 10k", size = "a size in bytes, such as 64KiB",
  duration = "a duration, such as 250ms", rate = "a rate, such as 200/s",
  byte_rate = "bytes a second, such as 64KiB/s", ratio = "a ratio, such as 1.6 or 50%" }

function fake.parse(kind, text)
  local number, unit = tostring(text):match("^([%d.]+)%s*([%a%%]*/?%a*)$")
  local scale = number and UNITS[kind][unit]
  if not scale and tonumber(text) == 0 then scale = 1 end
  if not scale or not tonumber(number) then return nil, ACCEPTED[kind] end
  local value = tonumber(number) * scale
  return (kind == "count" or kind == "size") and math.tointeger(value) or value
end

function fake.format(kind, value)
  if kind == "size" and value % 1024 ^ 2 == 0 then return ("%d MiB"):format(value // 1024 ^ 2) end
  return ("%g %s"):format(value, kind)
end

---What the next core.turn returns.
function fake.happen(event)
  table.insert(fake.queue, event)
end

function fake.turn(timeout)
  local events = fake.queue
  fake.queue = {}
  if #events == 0 then fake.time = fake.time + timeout end
  if fake.on_turn then fake.on_turn() end
  return events
end

local Hist = {}
Hist.__index = Hist

function fake.hist(values)
  return setmetatable({ values = values or {} }, Hist)
end

function Hist.__add(a, b)
  local both = table.move(a.values, 1, #a.values, 1, {})
  return fake.hist(table.move(b.values, 1, #b.values, #both + 1, both))
end

function Hist:count() return #self.values end
function Hist:max() return math.max(0, table.unpack(self.values)) end

function Hist:mean()
  local sum = 0
  for _, value in ipairs(self.values) do
    sum = sum + value
  end
  return #self.values > 0 and sum / #self.values or 0
end

function Hist:percentile(percent, missing)
  local n = #self.values + (missing or 0)
  if n == 0 then return nil end
  table.sort(self.values)
  return self.values[math.max(1, math.ceil(n * percent / 100))] or math.huge
end

package.loaded["wsb.core"] = fake
return fake
