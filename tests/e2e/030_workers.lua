-- Workers as a script sees them through wsb.core: they end when nobody holds them, and what cannot be said to
-- them is an error at once.

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
