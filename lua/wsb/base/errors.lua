-- Errors that carry an exit status. Everything that goes wrong for a reason a person can mend is raised as
-- one line `THING: VALUE ...: REMEDY`; any other Lua error becomes a script error that keeps its traceback.

local errors = {
  USAGE = 64, -- the command line
  ENVIRONMENT = 69, -- this machine, or a process on it
  SCRIPT = 70, -- the script, or wsb itself
}

---@class wsb.Error
---@field exit integer        exit status
---@field message string      one line
---@field traceback string?   of an error that was not foreseen
---@field signal integer?     of an interrupt
local Error = { __name = "wsb.Error" }
Error.__index = Error

function Error:__tostring()
  return self.message
end

---@param exit integer
---@param format string
---@return wsb.Error
function errors.new(exit, format, ...)
  return setmetatable({ exit = exit, message = format:format(...) }, Error)
end

local script_source -- chunk name of the script that is being run

---Names the chunk whose lines script errors point to: those raised while one of its functions is running.
---@param source string  as load was given it: "@slow.lua"
function errors.blame(source)
  script_source = source
end

-- "slow.lua:13: " of the innermost frame that is the script's, "" when it has none.
local function place_in_script()
  local level, frame = 3, debug.getinfo(3, "Sl")
  while frame do
    if frame.source == script_source then return ("%s:%d: "):format(frame.short_src, frame.currentline) end
    level = level + 1
    frame = debug.getinfo(level, "Sl")
  end
  return ""
end

---@param exit integer
---@param format string
function errors.raise(exit, format, ...)
  local e = errors.new(exit, format, ...)
  if exit == errors.SCRIPT then e.message = place_in_script() .. e.message end
  error(e, 0)
end

---Raises that a script gave a value that is not accepted.
---@param where string     the field
---@param value any
---@param accepted string  what would be
function errors.refuse(where, value, accepted)
  errors.raise(errors.SCRIPT, "%s: '%s' is not accepted: give %s", where, tostring(value), accepted)
end

---@param signal integer
---@return wsb.Error  exit status 128 + signal
function errors.interrupt(signal)
  local e = errors.new(128 + signal, "interrupted by signal %d: everything was cleaned up", signal)
  e.signal = signal
  return e
end

---@param value any
---@return boolean
function errors.is(value)
  return getmetatable(value) == Error
end

---Message handler for xpcall: leaves a wsb.Error as it is, gives anything else status 70 and a traceback.
---@param value any
---@return wsb.Error
function errors.handler(value)
  if errors.is(value) then return value end
  local e = errors.new(errors.SCRIPT, "%s", tostring(value))
  e.traceback = debug.traceback(nil, 2)
  return e
end

---Calls `fn` and then `always`, which runs whatever happened; the first error is raised again.
---@param fn fun(): ...
---@param always fun(err: wsb.Error?)  given what went wrong
---@return ...
function errors.finally(fn, always)
  local results = table.pack(xpcall(fn, errors.handler))
  local ok, err = xpcall(always, errors.handler, not results[1] and results[2] or nil)
  if not results[1] then error(results[2], 0) end
  if not ok then error(err, 0) end
  return table.unpack(results, 2, results.n)
end

return errors
