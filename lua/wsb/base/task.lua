-- Tasks: the one place that runs the event loop and resumes Lua.
--
--     task.run(main) ── resumes ──> main, and what it spawns
--        │ core.turn                  │ sleep, wait: yield until a time, or until something happened
--        └─ events -> task.listen's handlers; a signal -> the reason to stop
--
-- A reason to stop (a signal, or an error in a background task) is raised in the main task at its next pause,
-- and again at every later one, so a script's own pcall cannot swallow it. task.shield holds it back:
-- clean-up runs to its end even when more signals come.

local core = require "wsb.core"
local errors = require "wsb.base.errors"

local task = {}

local POLL_S = 0.05 -- how often a waiting task looks again when no event came
local BUSY_INSTRUCTIONS = 1000000 -- a script that never pauses still lets signals in this often
local CANCELLED = errors.new(0, "cancelled")

---@class wsb.Task
---@field private thread thread
---@field private deadline number?
---@field private on_events boolean?
---@field private shields integer
---@field private cancelled boolean?
local Task = { __name = "wsb.Task" }
Task.__index = Task

local handlers = setmetatable({}, { __mode = "k" })
local scheduler -- { tasks, main, running, reason, happened } while task.run runs

local function dispatch(events)
  for _, event in ipairs(events) do
    scheduler.happened = true
    if event.kind == "signal" then
      scheduler.reason = scheduler.reason or errors.interrupt(event.signal)
    else
      local handler = handlers[event.worker or event.program or false]
      if handler then handler(event) end
    end
  end
end

-- Raises what the task has to stop for.
local function checkpoint(self)
  if self.shields > 0 then return end
  if self.cancelled then error(CANCELLED, 0) end
  if self == scheduler.main and scheduler.reason then error(scheduler.reason, 0) end
end

local function has_to_stop(self)
  return self.shields == 0 and (self.cancelled or (self == scheduler.main and scheduler.reason ~= nil))
end

local function look_for_signals()
  local self = scheduler and scheduler.running
  if not self then return end
  dispatch(core.turn(0))
  checkpoint(self)
end

local function pause(deadline, on_events)
  local self = scheduler and scheduler.running
  if not self or coroutine.running() ~= self.thread then
    errors.raise(errors.SCRIPT, "sleep, wait: called outside a task: call them from the script's functions, "
      .. "not from a coroutine of its own")
  end
  checkpoint(self)
  self.deadline, self.on_events = deadline, on_events
  coroutine.yield()
  checkpoint(self)
end

---@param seconds number
---@async
function task.sleep(seconds)
  local deadline = core.now() + seconds
  repeat
    pause(deadline, false)
  until core.now() >= deadline
end

---Waits until `ready` returns something true and returns that. It is asked after every event, and at least
---every 50 ms, so it may look at counters.
---@generic T
---@param ready fun(): T?
---@param timeout? number  seconds; none waits for ever
---@return T? value
---@return "timeout"? why
---@async
function task.wait(ready, timeout)
  local deadline = timeout and core.now() + timeout or math.huge
  while true do
    local value = ready()
    if value then return value end
    local now = core.now()
    if now >= deadline then return nil, "timeout" end
    pause(math.min(now + POLL_S, deadline), true)
  end
end

---Starts a task beside this one. When it fails, the main task is stopped with its error.
---@param fn async fun()
---@return wsb.Task
function task.spawn(fn)
  local self = setmetatable({ shields = 0, deadline = 0 }, Task)
  self.thread = coroutine.create(function()
    local ok, result = xpcall(fn, errors.handler)
    if not ok then error(result, 0) end
    return result
  end)
  debug.sethook(self.thread, look_for_signals, "", BUSY_INSTRUCTIONS)
  table.insert(scheduler.tasks, self)
  return self
end

---Ends the task at its next pause. Idempotent.
function Task:cancel()
  self.cancelled = true
end

---@return boolean
function Task:finished()
  return coroutine.status(self.thread) == "dead"
end

---Runs `fn` to its end, whatever signals come meanwhile.
---@param fn fun(): ...
---@return ...
---@async
function task.shield(fn)
  local self = scheduler.running
  self.shields = self.shields + 1
  local results = table.pack(xpcall(fn, errors.handler))
  self.shields = self.shields - 1
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

---Waits for SIGINT or SIGTERM as the normal end of a command: it is taken, not raised.
---@param ready fun(): any  also ends the wait
---@return integer? signal  nil when `ready` ended it
---@async
function task.await_signal(ready)
  task.shield(function()
    task.wait(function() return scheduler.reason or ready() end)
  end)
  local reason = scheduler.reason
  if not reason then return nil end
  if not reason.signal then error(reason, 0) end
  scheduler.reason = nil
  return reason.signal
end

---Calls `handler` with every event of the worker or program.
---@param source wsb.Worker|wsb.Program
---@param handler fun(event: wsb.Event)
function task.listen(source, handler)
  handlers[source] = handler
end

local function resume(self)
  scheduler.running = self
  local ok, result = coroutine.resume(self.thread)
  scheduler.running = nil
  if not self:finished() then return end
  self.ok, self.result = ok, result
  if not ok and result ~= CANCELLED and self ~= scheduler.main then
    scheduler.reason = scheduler.reason or result
  end
end

local function sweep()
  local now, happened = core.now(), scheduler.happened
  scheduler.happened = false
  for _, t in ipairs(table.move(scheduler.tasks, 1, #scheduler.tasks, 1, {})) do
    if now >= t.deadline or (happened and t.on_events) or has_to_stop(t) then resume(t) end
  end
  for i = #scheduler.tasks, 1, -1 do
    if scheduler.tasks[i]:finished() then table.remove(scheduler.tasks, i) end
  end
end

local function time_to_next()
  local next_deadline = math.huge
  for _, t in ipairs(scheduler.tasks) do
    next_deadline = has_to_stop(t) and 0 or math.min(next_deadline, t.deadline)
  end
  return math.max(0, math.min(next_deadline - core.now(), 1))
end

local function run_until(done)
  while not done() do
    dispatch(core.turn(scheduler.happened and 0 or time_to_next()))
    sweep()
  end
end

---Runs `main` as the main task until it ends, then cancels what it left running.
---@param main async fun(): any
---@return boolean ok
---@return any result  of main, or a wsb.Error
function task.run(main)
  local outer = scheduler
  scheduler = { tasks = {}, happened = false }
  local self = task.spawn(main)
  scheduler.main = self
  run_until(function() return self:finished() end)
  for _, t in ipairs(scheduler.tasks) do
    t:cancel()
  end
  run_until(function() return #scheduler.tasks == 0 end)
  scheduler = outer
  return self.ok, self.result
end

return task
