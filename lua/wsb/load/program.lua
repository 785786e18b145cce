-- A program that is not wsb's: started, waited for until it is ready, watched, ended.
--
--     start -> ready ... -> stop or kill -> close
--        └──── exit at any time ────────┘

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local lfs = require "lfs"
local log = require "wsb.load.log"
local outcome = require "wsb.measure.outcome"
local task = require "wsb.base.task"
local units = require "wsb.base.units"

local program = {}

local RETRY_S = 0.05
local LAST_LINES = 10
local SIGKILL, SIGTERM = 9, 15

---@class wsb.Service
---@field label string
---@field worker wsb.Program
---@field exit {code: integer?, signal: integer?, at: number}?   at: core.now() when it was noticed
---@field private log string
---@field private log_from integer   what the log held before
---@field private own_log boolean    it ends with the service
local Service = { __name = "wsb.Service" }
Service.__index = Service

---A port of this machine, as in "3000", "127.0.0.1:3000" or "[::1]:3000".
---@param ready any
---@return string? host
---@return integer? port
function program.address(ready)
  local text = math.type(ready) == "integer" and tostring(ready) or ready
  if type(text) ~= "string" then return nil end
  local host, port = text:match("^([%d.]+):(%d+)$")
  if not host then host, port = text:match("^%[?([%x:]*:[%x:]*)%]:(%d+)$") end
  if not host then host, port = text:match("^(localhost):(%d+)$") end
  if not host then host, port = "127.0.0.1", text:match("^%d+$") end
  local number = math.tointeger(tonumber(port))
  if not number or number < 1 or number > 65535 then return nil end
  return host, number
end

-- Whether a connection is accepted; a refused one is tried again after a while.
local function accepting(host, port)
  local dial, next_at = nil, 0
  return function()
    if not dial and core.now() >= next_at then
      dial, next_at = core.dial(host, port), core.now() + RETRY_S
    end
    local state = dial and dial:state()
    if state and state ~= "connecting" then
      dial:close()
      dial = nil
    end
    return state == "open"
  end
end

local function said(self, text)
  local file = io.open(self.log, "r")
  if not file then return false end
  file:seek("set", self.log_from)
  local output = file:read("a")
  file:close()
  return output:find(text, 1, true) ~= nil
end

-- A function that tells whether it is ready, and what it is not as long as it is not.
local function readiness(self, ready)
  if ready == nil then return function() return true end, "" end
  if type(ready) == "function" then return ready, "it is not ready" end
  local host, port = program.address(ready)
  if host then
    return accepting(host, port), ("nothing accepts connections at %s:%d"):format(host, port)
  end
  local path = ready:match("^unix:(/.+)$")
  if path then
    return function() return lfs.attributes(path, "mode") == "socket" end, ("%s is not there"):format(path)
  end
  return function() return said(self, ready) end, ("its output has no '%s'"):format(ready)
end

-- Somebody else there would be taken for the program.
local function check_free(label, ready)
  local host, port = program.address(ready)
  local why = host and core.listen_error(host, port)
  if why == "Address already in use" then
    errors.raise(errors.ENVIRONMENT, "%s: %s:%d is taken already: end what listens there, or choose another",
      label, host, port)
  end
end

local function fail(self, how)
  local lines = log.tail(self.log, LAST_LINES, self.log_from)
  local said_last = "it has said nothing"
  if #lines > 0 then said_last = "its last lines: " .. table.concat(lines, " | ") end
  errors.raise(errors.ENVIRONMENT, "%s: %s; %s", self.label, how, said_last)
end

local function await_ready(self, ready, timeout)
  local seconds, accepted = units.read("duration", timeout)
  if not seconds then errors.refuse(self.label .. ".timeout", timeout, accepted) end
  local is_ready, what_not = readiness(self, ready)
  local came = task.wait(function() return self.exit or is_ready() end, seconds)
  if self.exit then fail(self, outcome.exit_words(self.exit) .. " before it was ready") end
  if came then return end
  fail(self, ("not ready within %s: %s"):format(core.format("duration", seconds), what_not))
end

local function run(self, command, how)
  local argv = type(command) == "string" and { "sh", "-c", command } or command
  local ok, started, why = pcall(core.start, argv,
    { log = self.log, limit = how.limit, cwd = how.cwd, env = how.env })
  if not ok or not started then
    errors.raise(errors.ENVIRONMENT, "%s: %s: check its name and path", self.label, ok and why or started)
  end
  self.worker = started
  task.listen(started, function(event)
    self.exit = { code = event.code, signal = event.signal, at = core.now() }
  end)
end

---Starts a program and waits until it is ready. Raises status 69, with the last lines it said, when it exits
---before or is not ready in time.
---@param how {command: string|string[], ready: (string|integer|fun(): any)?, log: string?, label: string?,
---  limit: wsb.MemoryLimit?, cwd: string?, env: table<string, string>?, timeout: (string|number)?}
---command: for the shell, or a list of words. ready: a port or HOST:PORT that accepts a connection,
---unix:/PATH that is there, other text that occurs in its output, or a function; without it nothing is
---waited for. timeout: 10s
---@return wsb.Service
---@async
function program.start(how)
  local label = how.label or (type(how.command) == "table" and how.command[1]) or "command"
  check_free(label, how.ready)
  local path = how.log or os.tmpname()
  local self = setmetatable({ label = label, log = path, own_log = how.log == nil,
    log_from = lfs.attributes(path, "size") or 0 }, Service)
  local ok, err = xpcall(function()
    run(self, how.command, how)
    await_ready(self, how.ready, how.timeout or "10s")
  end, errors.handler)
  if ok then return self end
  self:close()
  error(err, 0)
end

---@return boolean
function Service:alive()
  return self.exit == nil
end

---@return integer
function Service:pid()
  return self.worker:pid()
end

---The last line it said, "" when there is none.
---@return string
function Service:last_words()
  return log.tail(self.log, 1, self.log_from)[1] or ""
end

---How it ended, in words.
---@return string
function Service:epitaph()
  if not self.exit then return "alive" end
  local how, words = outcome.exit_words(self.exit), self:last_words()
  return words == "" and how or ("%s after saying '%s'"):format(how, words)
end

---SIGTERM to its process group, and SIGKILL to what has not ended after `grace`.
---@param grace? string|number  5s
---@return boolean  whether it ended by itself
---@async
function Service:stop(grace)
  if self.exit then return true end
  self.worker:kill(SIGTERM)
  if task.wait(function() return self.exit end, units.read("duration", grace or "5s")) then return true end
  self:kill()
  return false
end

---SIGKILL to its process group, and waits for its end.
---@async
function Service:kill()
  if self.exit then return end
  self.worker:kill(SIGKILL)
  task.wait(function() return self.exit end, 2)
end

---Kills what is left of its process group. Idempotent.
function Service:close()
  if self.worker then self.worker:close() end
  self.exit = self.exit or { signal = SIGKILL, at = core.now() }
  if self.own_log then os.remove(self.log) end
end

return program
