-- Child processes for the tests, on libuv. Each leads a process group of its own, so that ending it ends
-- whatever it started, and has no LUA_PATH: what is under test finds its files as it does for a user.

local uv = require "luv"

local child = {}

---@class child.Options
---@field env? table<string, string|false>  added to ours; false removes
---@field cwd? string
---@field stdin? string  what it reads before end of file; default: nothing
---@field on_line? fun(line: string, stream: "stdout"|"stderr")

---@class child.Child
---@field pid integer
---@field stdout string  all of it so far
---@field stderr string
---@field code integer?  once it has ended: its exit code, or 128 + signal
---@field killed_by integer?  the signal that ended it
---@field command string
local Child = { __name = "child.Child" }
Child.__index = Child

-- luv 1.44 crashes when Lua ends while a handle is only half closed: the turn closes it wholly.
local function close(...)
  for _, handle in ipairs { ... } do handle:close() end
  uv.run("nowait")
end

---Lets events happen until `done()` is true; false when `timeout` seconds pass first.
---@param done fun(): any
---@param timeout number
---@return boolean
function child.pump(done, timeout)
  local late = false
  local timer = uv.new_timer()
  -- Repeating: libuv runs a timer that is due before it waits for events, and without another it then waits
  -- for ever.
  timer:start(math.ceil(timeout * 1000), 10, function() late = true end)
  while not done() and not late do uv.run("once") end
  close(timer)
  return done() and true or false
end

---Asks `fn` every 20 ms until it answers, and lets events happen meanwhile; nil after `timeout` seconds.
---@generic T
---@param fn fun(): T?
---@param timeout number
---@return T?
function child.poll(fn, timeout)
  local deadline = uv.hrtime() + timeout * 1e9
  repeat
    local answer = fn()
    if answer then return answer end
    child.pump(function() return false end, 0.02)
  until uv.hrtime() > deadline
end

local function environment(changes)
  local env = uv.os_environ()
  env.LUA_PATH = nil
  for name, value in pairs(changes or {}) do env[name] = value or nil end
  local list = {}
  for name, value in pairs(env) do list[#list + 1] = name .. "=" .. value end
  return list
end

-- Splits what arrives into lines for child:line and on_line; the text as a whole stays in child[stream].
local function collect(self, stream, pipe, on_line)
  local rest = ""
  local function line_end(line)
    self.lines[#self.lines + 1] = line
    if on_line then on_line(line, stream) end
  end
  pipe:read_start(function(err, data)
    if err or not data then
      if rest ~= "" then line_end(rest) end
      self.open = self.open - 1
      return pipe:close()
    end
    self[stream] = self[stream] .. data
    rest = rest .. data
    for line in rest:gmatch "([^\n]*)\n" do line_end(line) end
    rest = rest:match "[^\n]*$"
  end)
end

---Starts `command`, found through PATH.
---@param command string[]
---@param options? child.Options
---@return child.Child?
---@return string? error
function child.start(command, options)
  options = options or {}
  local stdout, stderr = uv.new_pipe(false), uv.new_pipe(false)
  local stdin = options.stdin and uv.new_pipe(false)
  local self = setmetatable({
    command = table.concat(command, " "), stdout = "", stderr = "", lines = {}, next_line = 1, open = 2,
  }, Child)
  local handle, pid = uv.spawn(command[1], {
    args = table.move(command, 2, #command, 1, {}),
    stdio = { stdin or nil, stdout, stderr },
    env = environment(options.env),
    cwd = options.cwd,
    detached = true,
  }, function(code, signal)
    self.code = signal > 0 and 128 + signal or code
    self.killed_by = signal > 0 and signal or nil
    self.handle:close()
  end)
  if not handle then
    close(stdout, stderr, stdin or nil)
    return nil, ("cannot start %s: %s"):format(self.command, pid)
  end
  self.handle, self.pid = handle, pid
  collect(self, "stdout", stdout, options.on_line)
  collect(self, "stderr", stderr, options.on_line)
  if stdin then
    stdin:write(options.stdin)
    stdin:shutdown(function() stdin:close() end)
  end
  return self
end

---Waits for its end and for all of its output; nil when that takes longer than `timeout` seconds.
---@param timeout? number  default 30
---@return child.Child?  itself, with code, killed_by, stdout and stderr
function Child:wait(timeout)
  if not child.pump(function() return self.code end, timeout or 30) then return nil end
  -- A grandchild that it left behind may hold the pipes open for ever.
  child.pump(function() return self.open == 0 end, 1)
  return self
end

---Waits for a line, of either stream, that matches `pattern`, after the line that the last call returned.
---@param pattern string
---@param timeout? number  default 10
---@return string ...  the captures, or the line
function Child:line(pattern, timeout)
  local function find()
    while self.next_line <= #self.lines do
      local line = self.lines[self.next_line]
      self.next_line = self.next_line + 1
      if line:find(pattern) then return line end
    end
  end
  local found
  child.pump(function()
    found = found or find()
    return found or (self.code and self.open == 0)
  end, timeout or 10)
  if not found then
    local how = self.code and ("ended with %d"):format(self.code) or "went on"
    error(("%s %s without a line matching '%s'"):format(self.command, how, pattern), 2)
  end
  return found:match(pattern)
end

---Sends a signal to the process alone.
---@param signal string|integer  "sigint" or a number
function Child:signal(signal)
  uv.kill(self.pid, signal)
end

---Ends it and everything in its process group: SIGTERM, then after `grace` seconds SIGKILL.
---@param grace? number  default 3
function Child:stop(grace)
  if not self.code then
    uv.kill(-self.pid, "sigterm")
    self:wait(grace or 3)
  end
  uv.kill(-self.pid, "sigkill")
  self:wait(3)
end

---Runs `command` to its end; an error, and no process left, when that takes longer than `timeout` seconds.
---@param command string[]
---@param options? child.Options
---@param timeout? number  default 30
---@return child.Child
function child.run(command, options, timeout)
  local self = assert(child.start(command, options))
  if self:wait(timeout) then return self end
  self:stop()
  error(("%s took longer than %g s"):format(self.command, timeout or 30), 2)
end

return child
