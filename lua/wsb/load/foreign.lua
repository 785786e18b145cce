-- A server that is not wsb's, in the place of ctx.server: started by a command, or somebody's that runs
-- already. It has what wsb.Server has as far as measuring and cleaning up go; what it counts inside is not
-- known, and is not guessed.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local program = require "wsb.load.program"
local raw = require "wsb.load.raw"
local server = require "wsb.load.server"

local foreign = {}

local LOOK_S = 1 -- how often a target without a pid is asked whether it still accepts connections

---@class wsb.Aim  what to aim at
---@field command string?      started, limited and ended by wsb ...
---@field ready string?        ... when it is ready: see program.start
---@field target boolean?      it runs already
---@field pid integer?         of a target, to measure it
---@field url string           where clients connect
---@field publish_url string   where messages are published

---@class wsb.Foreign
---@field foreign true
---@field name string
---@field url string
---@field publish_url string
---@field relays boolean?       what is published reaches subscribers; nil: not tried yet
---@field limit wsb.MemoryLimit?
---@field limit_bytes integer?
---@field limit_why string?
---@field process table         a wsb.Service, or what stands for a target
---@field asked_to_end boolean
local Foreign = { __name = "wsb.Foreign" }
Foreign.__index = Foreign

-- A target by its pid: there as long as /proc knows it.
local function watched_by_pid(pid)
  local function sample() return core.sample(pid) end
  return sample, function() return sample() == nil and ("process %d is gone"):format(pid) end
end

-- A target by its port: there as long as a connection is not refused.
local function watched_by_port(url)
  local host, port = raw.parse(url)
  local dial, next_at, gone = nil, 0, false
  return function() return nil end, function()
    local state, why = nil, nil
    if dial then state, why = dial:state() end
    if state == "failed" then gone = why end
    if core.now() >= next_at and state ~= "connecting" and not gone then
      if dial then dial:close() end
      dial, next_at = core.dial(host, port), core.now() + LOOK_S
    end
    return gone and ("it accepts no connections (%s)"):format(gone)
  end
end

-- What stands for the process of a target, which is not wsb's to end.
local function target_process(aim)
  local sample, gone
  if aim.pid then
    sample, gone = watched_by_pid(aim.pid)
  else
    sample, gone = watched_by_port(aim.url)
  end
  local process = { worker = { sample = sample, pid = function() return aim.pid end } }
  function process:alive()
    local words = self.exit == nil and gone()
    if words then self.exit = { words = words, at = core.now() } end
    return self.exit == nil
  end
  function process:epitaph() return self.exit and self.exit.words or "alive" end
  function process.last_words() return "" end
  function process.kill() end
  function process.close() end
  return process
end

local function launch(self)
  return program.start { command = self.aim.command, ready = self.aim.ready, label = "--command",
    limit = self.limit, log = self.how.log }
end

---@param aim wsb.Aim
---@param how {name: string, memory_limit: string|number|nil, limit_kind: string?, log: string?}
---@return wsb.Foreign
---@async
function foreign.start(aim, how)
  local self = setmetatable({ foreign = true, name = how.name, aim = aim, how = how, url = aim.url,
    publish_url = aim.publish_url, options = {}, asked_to_end = false }, Foreign)
  if aim.target then
    self.process = target_process(aim)
    if not self.process:alive() then
      errors.raise(errors.ENVIRONMENT, "--pid: %d: no such process: give that of the server", aim.pid)
    end
    return self
  end
  server.start_limited(self, launch)
  return self
end

---What its clients need to come in stands in its URL.
---@return table
function Foreign.credentials()
  return {}
end

---@return boolean
function Foreign:alive()
  return self.process:alive()
end

---@return integer?  nil of a target without --pid
function Foreign:pid()
  return self.process.worker:pid()
end

---@return table  empty: it counts for itself
function Foreign.counts()
  return {}
end

---@return table  empty: only the clients' side of a close is seen
function Foreign.closes()
  return {}
end

---Ends what --command started.
---@async
function Foreign:stop()
  if not self.process.stop then
    errors.raise(errors.SCRIPT, "ctx.server:stop: --target is not wsb's to end: give --command instead")
  end
  self.asked_to_end = "stop"
  self.process:stop()
end

---@async
function Foreign:kill()
  if self.aim.target then
    errors.raise(errors.SCRIPT, "ctx.server:kill: --target is not wsb's to end: give --command instead")
  end
  self.asked_to_end = "kill"
  self.process:kill()
end

---Runs its command again.
---@async
function Foreign:restart()
  local next_one = launch(self)
  self.process:close()
  self.process, self.asked_to_end = next_one, false
end

---Kills what --command started and removes its limit. Idempotent.
function Foreign:close()
  self.process:close()
  if self.limit then self.limit:close() end
end

-- Stands for the publisher where nothing can be published: the server's own feed is the load.
local Pause = { __name = "wsb.Pause" }
Pause.__index = Pause

---@param seconds number
---@return table  as a wsb.Cohort that offers nothing and is finished after `seconds`
function foreign.pause(seconds)
  return setmetatable({ name = "the server's own feed", n = 0, faults = {}, seconds = seconds }, Pause)
end

function Pause:start()
  self.over_at = core.now() + self.seconds
end

function Pause:finished()
  return self.over_at ~= nil and core.now() >= self.over_at
end

function Pause.counts()
  return {}
end

function Pause.closes()
  return {}
end

function Pause.hist()
  return core.hist()
end

function Pause.died()
  return nil
end

function Pause.stop() end
function Pause.close() end

return foreign
