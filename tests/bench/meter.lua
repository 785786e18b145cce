-- What a process costs, as /proc tells it: with all that it has started, since some servers are several.

local core = require "wsb.core"
local lfs = require "lfs"
local program = require "wsb.load.program"
local task = require "wsb.base.task"

local meter = {}

local NS_PER_S = 1e9

local function read(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read("a")
  file:close()
  return text or ""
end

local function threads(pid)
  local list, path = {}, ("/proc/%d/task"):format(pid)
  if not lfs.attributes(path, "mode") then return list end
  for entry in lfs.dir(path) do
    if entry:find("^%d+$") then list[#list + 1] = ("%s/%s"):format(path, entry) end
  end
  return list
end

---A process and its descendants.
---@param pid integer
---@return integer[]
function meter.family(pid)
  local list = { pid }
  for _, thread in ipairs(threads(pid)) do
    for child in read(thread .. "/children"):gmatch("%d+") do
      table.move(meter.family(math.tointeger(tonumber(child))), 1, 1000, #list + 1, list)
    end
  end
  return list
end

---CPU time so far: utime + stime, which the kernel scales to the run time of schedstat, in nanoseconds where
---the ticks of /proc/PID/stat are hundredths of a second.
---@param pid integer
---@return number seconds
function meter.cpu(pid)
  local ns = 0
  for _, member in ipairs(meter.family(pid)) do
    for _, thread in ipairs(threads(member)) do
      ns = ns + (tonumber(read(thread .. "/schedstat"):match("^%d+")) or 0)
    end
  end
  if ns > 0 then return ns / NS_PER_S end
  local sample = core.sample(pid)
  return sample and sample.user + sample.system or 0
end

---Memory of its own, without the files that are mapped.
---@param pid integer
---@return integer bytes
function meter.memory(pid)
  local sum = 0
  for _, member in ipairs(meter.family(pid)) do
    local kib = read(("/proc/%d/status"):format(member)):match("RssAnon:%s*(%d+) kB")
    sum = sum + (tonumber(kib) or 0) * 1024
  end
  return sum
end

---System calls that it makes within `seconds`, counted by perf, or by strace, which slows it down.
---@param pid integer
---@param seconds integer
---@return integer? calls  nil where there is neither
---@async
function meter.calls(pid, seconds)
  local pids, out = table.concat(meter.family(pid), ","), os.tmpname()
  local perf = { "perf", "stat", "-x,", "-o", out, "-e", "raw_syscalls:sys_enter", "-p", pids, "sleep",
    tostring(seconds) }
  local strace = { "timeout", "-s", "INT", tostring(seconds), "strace", "-cf", "-o", out, "-p", pids }
  local calls
  for i, command in ipairs { perf, strace } do
    local ok, run = pcall(program.start, { command = command })
    if ok then
      task.wait(function() return run.exit end, seconds + 10)
      run:close()
      local text = read(out)
      calls = tonumber(i == 1 and text:match("(%d+),,raw") or text:match("(%d+)%s+%d*%s*total"))
    end
    if calls then break end
  end
  os.remove(out)
  return calls
end

return meter
