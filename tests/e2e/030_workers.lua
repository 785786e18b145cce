-- Workers as a script sees them through wsb.core: they end when nobody holds them, and what cannot be said to
-- them is an error at once.

local served = require "served"
local t = require "harness"

-- Runs `body` as a command; what it prints comes back.
local function run(body)
  local script = 'local core = require "wsb.core"\n'
    .. 'return { name = "workers", description = "test", run = function() ' .. body .. " end }\n"
  local r = t.run({ t.wsb, "-" }, { stdin = script })
  assert(r.code == 0, r.stderr)
  return r.stdout
end

local ALIVE = [[
  local function alive(pid) local f = io.open("/proc/" .. pid .. "/stat"); return f ~= nil end
]]

t.test("a worker that nobody refers to any more is ended", function()
  local said = run(ALIVE .. [[
    local pid
    do
      local worker = core.spawn("server", {}, {})
      pid = worker:pid()
      core.turn(10)
      print(alive(pid))
    end
    collectgarbage()
    collectgarbage()
    print(alive(pid))
  ]])
  assert(said == "true\nfalse\n", said)
end)

t.test("a memory limit lives as long as the worker under it", function()
  local said = run [[
    local worker = core.spawn("server", {}, { limit = core.memory_limit(1 << 26) })
    collectgarbage()
    collectgarbage()
    local events = core.turn(10)
    print(events[1].kind, worker:alive())
    worker:close()
  ]]
  assert(said == "ready\ttrue\n", said)
end)

t.test("what cannot be sent is an error, not a worker that waits for ever", function()
  local said = run [[
    print(core.spawn("swarm", { cohort = "a\nb" }, {}))
    local worker = core.spawn("server", {}, {})
    core.turn(10)
    print(pcall(worker.send, worker, "set", { high_water_mark = "1\n2" }))
    worker:close()
  ]]
  assert(said:find "^nil\tswarm worker: cannot be started: Invalid argument\n", said)
  assert(said:find "\nfalse\t.*set cannot be sent", said)
end)

t.test("the script's own children are its own to wait for", function()
  local said = run [[
    local child = io.popen("sleep 0.05; exit 3")
    core.turn(0.2)
    print(select(3, child:close()))
  ]]
  assert(said == "3\n", said)
end)

-- What a shell, a supervisor or nohup may hand down.

t.test("an inherited SIGCHLD that is ignored does not hide a worker's end", function()
  local r = t.run({ "env", "--ignore-signal=CHLD", t.wsb, "-" }, { stdin = [[
    return { name = "blind", description = "test", run = function(ctx)
      local server = ctx:serve {}
      server.process.worker:kill(9)
      print(ctx:wait(function() return not server:alive() end, "5s"))
    end }
  ]] })
  assert(r.code == 0 and r.stdout == "true\n", r.stdout)
end)

t.test("under nohup it outlives its terminal", function()
  local server = served.run { "nohup", t.wsb, "serve" }
  server.process:signal "sighup"
  server:open():round_trip()
  assert(server:finish "sigterm" == 0)
  server:leave()
end)

t.test("closed standard descriptors do not get into the way of a worker and its limit", function()
  local dir = t.tmpdir()
  local file = assert(io.open(dir .. "/limited.lua", "w"))
  file:write [[
return { name = "limited", description = "test", run = function(ctx)
  ctx:serve { memory_limit = "64MiB" }
end }
]]
  file:close()
  for _, closed in ipairs { "0<&-", "0<&- 1>&-", "0<&- 1>&- 2>&-" } do
    local r = t.run { "sh", "-c", ('exec "$0" "$1" %s'):format(closed), t.wsb, dir .. "/limited.lua" }
    assert(r.code == 0, closed)
  end
end)
