-- What a Lua test needs. A test file is a plain program:
--
--     local t = require "harness"
--     t.test("prints its version", function()
--       local r = t.run { t.wsb, "--version" }
--       assert(r.code == 0, r.stderr)
--     end)
--
-- It runs each test as it comes to it and reports in TAP, so that a file also runs alone:
--
--     LUA_PATH='lua/?.lua;lua/?/init.lua;tests/?.lua;;' WSB=build/wsb lua5.4 tests/e2e/100_serve.lua

local child = require "child"
local uv = require "luv"

local t = {}

---The program under test, as an absolute path.
t.wsb = os.getenv "WSB" or "build/wsb"
t.wsb = uv.fs_realpath(t.wsb) or t.wsb
---True when it was built with the sanitizers: slower, and with their own use of memory.
t.sanitized = os.getenv "WSB_SAN" == "1"

local count, failed = 0, 0
local running -- the test being run: its children and directories

local Skip = { __name = "harness.Skip" }

local function say(format, ...)
  io.stdout:write(format:format(...), "\n")
  io.stdout:flush()
end

local function comment(text)
  for line in (text:gsub("\n$", "") .. "\n"):gmatch "(.-)\n" do say("# %s", line) end
end

-- The end of a long output tells the most.
local function tail(text, lines)
  local from = #text + 1
  for _ = 1, lines + 1 do
    local before = text:sub(1, from - 1):match "()\n[^\n]*$"
    if not before then return text end
    from = before
  end
  return "...\n" .. text:sub(from + 1)
end

local function describe(process)
  local state = process.code and "code " .. process.code or "still running"
  comment(("$ %s   -> %s"):format(process.command, state))
  for _, stream in ipairs { "stdout", "stderr" } do
    if process[stream] ~= "" then comment(stream .. ":\n" .. tail(process[stream], 40)) end
  end
end

local function clean_up(test)
  for i = #test.children, 1, -1 do test.children[i]:stop() end
  for _, path in ipairs(test.directories) do child.run { "rm", "-rf", "--", path } end
end

local function trace(err)
  if getmetatable(err) == Skip then return err end
  return debug.traceback(tostring(err), 2)
end

---Runs a test now. Whatever it started is ended and whatever t.tmpdir made is removed afterwards.
---@param name string
---@param fn fun()
---@param options? {timeout: number}  seconds after which tests/run gives up; default 60
function t.test(name, fn, options)
  running = { children = {}, directories = {} }
  count = count + 1
  if options and options.timeout then say("# timeout %d", options.timeout) end
  local ok, err = xpcall(fn, trace)
  if ok then
    say("ok %d - %s", count, name)
  elseif getmetatable(err) == Skip then
    say("ok %d - %s # SKIP %s", count, name, err.reason)
  else
    failed = failed + 1
    say("not ok %d - %s", count, name)
    comment(err)
    for _, process in ipairs(running.children) do describe(process) end
  end
  clean_up(running)
  running = nil
end

---Ends the running test as skipped.
---@param reason string
function t.skip(reason)
  error(setmetatable({ reason = reason }, Skip), 0)
end

---Starts a program; it is ended with the test, if it has not ended before.
---@param command string[]
---@param options? child.Options
---@return child.Child
function t.start(command, options)
  local process = assert(child.start(command, options))
  table.insert(running.children, process)
  say("# group %d: %s", process.pid, process.command)
  return process
end

---Runs a program to its end.
---@param command string[]
---@param options? child.Options | {timeout: number}  timeout in seconds, default 30
---@return child.Child  with code, killed_by, stdout and stderr
function t.run(command, options)
  local process = t.start(command, options)
  local timeout = options and options.timeout or 30
  if process:wait(timeout) then return process end
  error(("%s took longer than %g s"):format(process.command, timeout), 2)
end

---A directory that is removed after the test.
---@return string path
function t.tmpdir()
  local path = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/wsb-test-XXXXXX"))
  table.insert(running.directories, path)
  return path
end

---Asks `fn` every 20 ms until it answers, and lets children's output in meanwhile.
---@generic T
---@param fn fun(): T?
---@param timeout number
---@param what string  what is waited for, as in "the port to open"
---@return T
function t.wait_until(fn, timeout, what)
  return child.poll(fn, timeout) or error(("waited %g s for %s"):format(timeout, what), 2)
end

-- The plan and the exit code, when the state closes: a program that dies half-way never says its plan.
t.at_exit = setmetatable({}, {
  __gc = function()
    say("1..%d", count)
    if failed > 0 then os.exit(1) end
  end,
})

return t
