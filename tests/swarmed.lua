-- A swarm of a test's own: a script drives it, says what happens and every change of its counters, and may
-- answer what it is asked.

local t = require "harness"
local uv = require "luv"

local swarmed = {}

local DRIVER = [[
local core = require "wsb.core"
io.stdout:setvbuf "line"
return { name = "driver", description = "test", run = function()
  local worker = core.spawn("swarm", %s, {})
  print("pid", worker:pid())
  local said, over
  local function handle(event)
    local values = event.values or {}
    if event.kind == "exit" then over = ("%%s %%s"):format(event.code, event.signal) end
    if event.kind == "ready" then return end
    local words = {}
    for name, value in pairs(values) do words[#words + 1] = name .. "=" .. value end
    table.sort(words)
    print("event", event.name or event.kind, table.concat(words, " "))
    %s
  end
  local function tell()
    local words = {}
    for name, value in pairs(worker:counts()) do
      if value ~= 0 then words[#words + 1] = name .. "=" .. value end
    end
    words[#words + 1] = "came_back=" .. worker:hist("reconnect_time"):count()
    words[#words + 1] = "dropped=" .. ((worker:closes()[1006] or {}).seen or 0)
    table.sort(words)
    local now = table.concat(words, " ")
    if now ~= said then print("counts", now) end
    said = now
  end
  local deadline = core.now() + 50
  repeat
    for _, event in ipairs(core.turn(0.01)) do handle(event) end
    tell()
  until over or core.now() > deadline
  print("over", over)
  worker:close()
end }
]]

---@class swarmed.Swarm
---@field counts table<string, integer>
---@field events string[]
---@field pid integer
---@field over string?  "CODE SIGNAL"
local Swarm = { __name = "swarmed.Swarm" }
Swarm.__index = Swarm

---@param options table<string, string>
---@param on_event? string  Lua text, run for each `event` of the `worker`
---@return swarmed.Swarm
function swarmed.start(options, on_event)
  local fields = {}
  for name, value in pairs(options) do fields[#fields + 1] = ("%s = %q"):format(name, value) end
  local self = setmetatable({ counts = {}, events = {} }, Swarm)
  local function on_line(line)
    local kind, rest = line:match "^(%l+)\t(.*)$"
    if kind == "pid" then self.pid = tonumber(rest) end
    if kind == "over" then self.over = rest end
    if kind == "event" then table.insert(self.events, (rest:gsub("\t", " "))) end
    if kind ~= "counts" then return end
    self.counts = {}
    for name, value in rest:gmatch "([%l%d_]+)=(%d+)" do self.counts[name] = tonumber(value) end
  end
  local script = DRIVER:format("{ " .. table.concat(fields, ", ") .. " }", on_event or "")
  self.process = t.start({ t.wsb, "-" }, { stdin = script, on_line = on_line })
  return self
end

function Swarm:count(name) return self.counts[name] or 0 end

function Swarm:await(name, value)
  t.wait_until(function() return self:count(name) == value end, 20, ("%s = %d"):format(name, value))
end

-- Once the counts stand as they are to be; the others are 0.
function Swarm:expect(counts)
  for name, value in pairs(counts) do
    assert(self:count(name) == value, ("%s is %d, not %d"):format(name, self:count(name), value))
  end
end

function Swarm:await_event(text)
  t.wait_until(function()
    for _, event in ipairs(self.events) do
      if event == text then return true end
    end
  end, 20, text)
end

function Swarm:stop()
  uv.kill(self.pid, "sigterm")
  t.wait_until(function() return self.over end, 20, "the swarm's end")
  assert(self.over == "0 nil", self.over)
  assert(self:count "clients_waiting" == 0, "some still wait")
  assert(self:count "clients_open" == 0, "some are still open")
end

return swarmed
