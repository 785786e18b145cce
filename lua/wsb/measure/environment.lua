-- Where a result was measured: what somebody who repeats it would have to know.

local core = require "wsb.core"
local units = require "wsb.base.units"

local environment = {}

environment.CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"

---First line of a file, or nil.
---@param path string
---@return string?
function environment.read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local line = file:read("l")
  file:close()
  return line
end

local function field_of(path, pattern)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text:match(pattern)
end

---@return integer
function environment.cores()
  local file, count = io.open("/proc/cpuinfo", "r"), 0
  if not file then return 0 end
  for line in file:lines() do
    if line:find("^processor%s*:") then count = count + 1 end
  end
  file:close()
  return count
end

---@return number?  bytes
function environment.memory()
  local kib = field_of("/proc/meminfo", "MemTotal:%s*(%d+)")
  return kib and units.read("size", tonumber(kib) * 1024)
end

local KNOBS = { "net.ipv4.tcp_wmem", "net.ipv4.tcp_rmem", "net.core.wmem_max", "net.core.rmem_max",
  "net.core.somaxconn", "net.ipv4.ip_local_port_range", "vm.overcommit_memory" }

---A kernel setting by its sysctl name.
---@param name string
---@return string?
function environment.knob(name)
  local line = environment.read("/proc/sys/" .. name:gsub("%.", "/"))
  return line and (line:gsub("%s+", " "))
end

---@param seed integer
---@return {name: string, value: string}[]
function environment.describe(seed)
  local uname, limit = core.uname(), core.descriptor_limit()
  local list = {}
  local function add(name, value)
    table.insert(list, { name = name, value = value and tostring(value) or "unknown" })
  end
  add("wsb", core.version)
  add("Lua", _VERSION)
  add("seed", seed)
  add("kernel", ("%s %s %s"):format(uname.sysname, uname.release, uname.machine))
  add("cpu", field_of("/proc/cpuinfo", "model name%s*:%s*([^\n]+)"))
  add("cores", environment.cores())
  local memory = environment.memory()
  add("memory", memory and core.format("size", memory))
  add("user id", core.getuid())
  add("descriptors", ("%d soft, %d hard"):format(limit.soft, limit.hard))
  add("clock", environment.read(environment.CLOCK))
  for _, name in ipairs(KNOBS) do
    add(name, environment.knob(name))
  end
  return list
end

return environment
