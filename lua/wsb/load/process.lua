-- A worker process as a script sees it: started, asked, ended.
--
--     start -> (ready) -> request ... -> finish -> close
--                  └──────── exit at any time ────────┘

local core = require "wsb.core"
local config = require "wsb.load.config"
local errors = require "wsb.base.errors"
local log = require "wsb.load.log"
local outcome = require "wsb.measure.outcome"
local task = require "wsb.base.task"

local process = {}

local READY_S, REPLY_S = 10, 5

---@class wsb.Process
---@field role wsb.Role
---@field label string                          for messages
---@field worker wsb.Worker
---@field ready table<string, string>?          what it said when ready
---@field notices table<string, table<string, string>>
---@field on table<string, fun(values: table<string, string>)>  called at each notice of that name
---@field exit {code: integer?, signal: integer?, at: number}?   at: core.now() when it was noticed
---@field private replies table<integer, wsb.Event|false>
---@field private log string?
local Process = { __name = "wsb.Process" }
Process.__index = Process

local function on_event(self, event)
  if event.kind == "ready" then
    self.ready = event.values or {}
  elseif event.kind == "notice" then
    self.notices[event.name] = event.values or {}
    if self.on[event.name] then self.on[event.name](event.values or {}) end
  elseif event.kind == "reply" then
    if self.replies[event.seq] == false then self.replies[event.seq] = event end
  elseif event.kind == "exit" then
    self.exit = { code = event.code, signal = event.signal, at = core.now() }
  end
end

---Starts a worker and waits until it is ready. Raises status 64 when it refuses its options, 69 when it
---cannot be had.
---@param role wsb.Role
---@param values table<string, string|number|boolean>  by the names of config.def
---@param how {label: string, where: string, limit: wsb.MemoryLimit?, log: string?, remedy: string?,
---  on: table<string, fun(values: table<string, string>)>?}
---@return wsb.Process
---@async
function process.start(role, values, how)
  local encoded = config.encode(role, values, how.where)
  local ok, worker, why = pcall(core.spawn, role, encoded, { limit = how.limit, log = how.log })
  if not ok or not worker then
    local trouble = tostring(ok and why or worker):gsub("^%l+ worker: ", "")
    errors.raise(errors.ENVIRONMENT, "%s: %s: see what `ulimit -a` allows", how.label, trouble)
  end
  local self = setmetatable({ role = role, label = how.label, worker = worker, log = how.log, notices = {},
    on = how.on or {}, replies = {} }, Process)
  task.listen(worker, function(event) on_event(self, event) end)
  local started, err = pcall(task.wait, function() return self.ready or self.exit end, READY_S)
  if self.ready and started then return self end
  local epitaph = self:epitaph()
  self:close()
  if not started then error(err, 0) end
  local refused = self.notices.failed
  if refused then errors.raise(errors.USAGE, "%s: %s", how.where, refused.why) end
  errors.raise(errors.ENVIRONMENT, "%s: could not start: %s: %s", self.label, epitaph,
    how.remedy or "run `wsb doctor`")
end

---@return boolean
function Process:alive()
  return self.exit == nil
end

---The last line of its log, "" without one.
---@return string
function Process:last_words()
  return log.tail(self.log, 1)[1] or ""
end

---How it ended, in words.
---@return string
function Process:epitaph()
  if not self.exit then return "not ready in time" end
  local how = outcome.exit_words(self.exit)
  local words = self:last_words()
  return words == "" and how or ("%s after saying '%s'"):format(how, words)
end

---Sends a command without waiting for its answer; nothing when it has ended.
---@param verb string
---@param values? table<string, string|number|boolean>
function Process:tell(verb, values)
  if not self.exit then self.worker:send(verb, values or {}) end
end

---Sends a command and waits for its answer.
---@param verb string
---@param values? table<string, string|number|boolean>
---@return table<string, string> answer
---@async
function Process:request(verb, values)
  if self.exit then
    errors.raise(errors.SCRIPT, "%s: %s: cannot be sent %s", self.label, self:epitaph(), verb)
  end
  local seq = self.worker:send(verb, values or {})
  self.replies[seq] = false -- asked for; the answer to what was only told is nobody's
  task.wait(function() return self.replies[seq] or self.exit end, REPLY_S)
  local reply = self.replies[seq]
  self.replies[seq] = nil
  if not reply then
    errors.raise(errors.ENVIRONMENT, "%s: %s: no answer to %s", self.label,
      self.exit and self:epitaph() or "silent", verb)
  end
  if reply.error then errors.raise(errors.SCRIPT, "%s: %s refused: %s", self.label, verb, reply.error) end
  return reply.values or {}
end

---Ends it with a command that leads to its exit (stop, drain), or by force after `grace` seconds.
---@param verb string
---@param grace number
---@return boolean  whether it ended by itself
---@async
function Process:finish(verb, grace)
  if self.exit then return true end
  self.worker:send(verb, {})
  if task.wait(function() return self.exit end, grace) then return true end
  self:kill()
  return false
end

---SIGKILL, and waits until it is reaped.
---@async
function Process:kill()
  if self.exit then return end
  self.worker:kill(9)
  task.wait(function() return self.exit end, 2)
end

---Kills if alive and frees. Its counters cannot be read any more. Idempotent.
function Process:close()
  self.worker:close()
  self.exit = self.exit or { signal = 9, at = core.now() }
end

return process
