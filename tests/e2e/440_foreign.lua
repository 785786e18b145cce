-- `wsb backpressure` aimed at servers that others wrote, and the programs that wsb runs for that.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local PEERS = uv.fs_realpath "tests/peers"
local TOY = PEERS .. "/toy.js"
local HELD, FAILED, INCONCLUSIVE, USAGE, ENVIRONMENT = 0, 1, 2, 64, 69

-- A little load, under which nothing grows.
local GENTLE = { "--clients", "5", "--stalled", "2", "--rate", "50/s", "--size", "1KiB", "--duration",
  "1500ms" }
-- The kernel takes what the stalled do not read for half a second; from then on the server's memory grows.
local HARD = { "--clients", "5", "--stalled", "10", "--rate", "200/s", "--size", "64KiB", "--stall-after",
  "200ms", "--duration", "3s" }

local function need_node()
  if not uv.fs_stat(PEERS .. "/node_modules/ws") then t.skip "npm could not fetch ws" end
end

-- A port that nobody listens on.
local function free_port()
  local socket = uv.new_tcp()
  socket:bind("127.0.0.1", 0)
  local port = socket:getsockname().port
  socket:close()
  return port
end

local function words(flags, load)
  local all = { "backpressure", "--quiet" }
  for _, list in ipairs { load or {}, flags } do
    table.move(list, 1, #list, #all + 1, all)
  end
  return all
end

-- A verdict that was not reached because the machine has other work.
local function was_late(r)
  return r.code == INCONCLUSIVE and r.stdout:find("the generator was late", 1, true) ~= nil
end

-- Runs it in a directory of its own and looks at what is left. code: nil for any verdict, where a busy
-- machine may be late.
local function aimed(code, flags, load)
  local dir = t.tmpdir()
  local r = lab.run(dir, words(flags, load))
  assert(r.code == code or was_late(r) or (not code and r.code < USAGE), ("code %d"):format(r.code))
  lab.nothing_left(r)
  if r.code >= USAGE then
    assert(r.stdout == "" and #lab.names(dir) == 0, "a file was left behind")
    return r
  end
  local result, path = lab.result(dir)
  assert(#result.arms == 1 and result.arms[1].name == "yours", "one arm")
  return r, result.arms[1].runs[1], path
end

local function refused(code, text, ...)
  local r = aimed(code, { ... })
  assert(r.stderr:find(text, 1, true), "it does not say why")
end

-- A toy that runs already: its URL and pid.
local function toy()
  need_node()
  local process = t.start { "node", TOY }
  return process:line("^wsb: serving (ws://.+)$", 20), process
end

local function threshold(row, metric, expression)
  for _, each in ipairs(row.thresholds) do
    if each.metric == metric and each.expression == expression then return each end
  end
  error("no threshold " .. metric, 2)
end

t.test("a server without a mark FAILS, and its rss is named", function()
  need_node()
  local port = free_port()
  local r, row, path = aimed(FAILED, { "--command", ("PORT=%d exec node %s"):format(port, TOY), "--ready",
    tostring(port) }, HARD)
  assert(row.outcome.kind == "alive", row.outcome.text)
  assert(threshold(row, "rss", "flatness<10%").held == false, "its memory is flat")
  assert(row.metrics["rss.max"] > 0 and row.metrics["server_memory.max"] == nil)
  assert(r.stdout:find "\n%- yours, run 1: rss flatness<10%% did not hold\n", "the reason")
  assert(r.stdout:find "slow_clients last<1 was not measured: only a server of wsb", "what is not known")
  assert(was_late(r) or r.stdout:find "\nFAILED  ", "the verdict")
  assert(lab.read(path .. "/report.md"):find("| rss | flatness\\<10% |", 1, true), "report.md")
  assert(lab.read(path .. "/yours-1/server.log"):find "^wsb: serving", "its log")
end)

t.test("a server that its limit kills has FAILED", function()
  need_node()
  if not t.sanitized then lab.need_cgroup() end
  local port = free_port()
  local _, row = aimed(FAILED, { "--command", ("PORT=%d node %s"):format(port, TOY), "--ready",
    tostring(port), "--memory-limit", "72MiB", "--duration", "5s" }, HARD)
  assert(row.outcome.kind == "killed", row.outcome.text)
end)

t.test("a server that runs already is measured by its pid, and left as it is", function()
  local url, process = toy()
  local _, row = aimed(nil, { "--target", url, "--pid", tostring(process.pid) }, GENTLE)
  assert(threshold(row, "rss", "max<96MiB").held)
  assert(row.metrics["delivered{cohort:healthy}.ratio"] == 1)
  assert(uv.kill(process.pid, 0), "it was ended")
end)

t.test("without its pid its memory is not judged, and that is said", function()
  local r, row = aimed(nil, { "--target", (toy()) }, GENTLE)
  assert(threshold(row, "rss", "max<96MiB").held == nil)
  assert(r.stdout:find "rss max<96MiB was not measured: its process is not known", "why")
end)

t.test("a feed of its own is counted where nothing can be published", function()
  need_node()
  local dir, port = t.tmpdir(), free_port()
  lab.write(dir .. "/feed.js", ([[
const WebSocket = require("%s/node_modules/ws");
const server = new WebSocket.Server({ host: "127.0.0.1", port: %d }, () => console.log("feeding"));
setInterval(() => server.clients.forEach((client) => client.send("tick")), 10);
]]):format(PEERS, port))
  local r, row = aimed(HELD, { "--command", "node " .. dir .. "/feed.js", "--ready", "feeding", "--url",
    ("ws://127.0.0.1:%d/"):format(port) }, GENTLE)
  assert(row.metrics.messages_foreign > 100, "messages of the feed")
  assert(r.stdout:find "\nHELD  ", "the verdict")
  assert(row.metrics["delivered{cohort:healthy}.ratio"] == nil, "nothing was published")
end)

t.test("a server that never gets ready is told with its last line", function()
  local port = tostring(free_port())
  refused(ENVIRONMENT, "exited with 3 before it was ready; its last lines: no luck", "--command",
    "echo no luck; exit 3", "--ready", port)
  refused(ENVIRONMENT, "not ready within 10 s: its output has no 'listening'; its last lines: hello",
    "--command", "echo hello; exec sleep 60", "--ready", "listening", "--url", "ws://127.0.0.1:1/")
  refused(ENVIRONMENT, "exited with 127 before it was ready", "--command", "wsb-nonesuch", "--ready", port)
end)

t.test("who listens on its port already is not taken for it", function()
  local url = toy()
  refused(ENVIRONMENT, "is taken already", "--command", "sleep 60", "--ready", url:match ":(%d+)/")
end)

t.test("flags that do not go together, and other machines, are refused", function()
  refused(USAGE, "--command: needs --ready", "--command", "true")
  refused(USAGE, "--ready: needs --command", "--ready", "3000")
  refused(USAGE, "--pid: needs --target", "--pid", "1")
  refused(USAGE, "not together with --command", "--command", "true", "--ready", "1", "--target",
    "ws://[::1]/")
  refused(USAGE, "--url: missing", "--command", "true", "--ready", "listening")
  refused(USAGE, "'192.0.2.1' is not this machine", "--target", "ws://192.0.2.1/feed")
  refused(USAGE, "'192.0.2.1' is not this machine", "--target", "ws://127.0.0.1/", "--publish-url",
    "ws://192.0.2.1/feed")
  refused(USAGE, "give ws://HOST:PORT/PATH", "--target", "http://127.0.0.1/")
  refused(ENVIRONMENT, "no such process", "--target", "ws://127.0.0.1:1/", "--pid", "4194304")
  refused(ENVIRONMENT, "no upgrade: Connection refused", "--target", "ws://127.0.0.1:1/")
end)

t.test("an interrupt leaves no process of the command", function()
  need_node()
  for _, moment in ipairs { "^yours  checking", "^yours  0%.0 s" } do
    local dir, port = t.tmpdir(), free_port()
    local flags = { "--command", ("PORT=%d node %s; true"):format(port, TOY), "--ready", tostring(port) }
    local all = words(flags, GENTLE)
    table.remove(all, 2) -- --quiet
    local process = lab.start(dir, all)
    process:line(moment, 20)
    process:signal "sigint"
    assert(process:wait(10) and process.code == 130, "code")
    assert(#lab.names(dir) == 0, "a file was left behind")
    lab.nothing_left(process)
  end
end)

-- core.start and load/program, from a script.
local function script(body)
  local text = [[
local core, program = require "wsb.core", require "wsb.load.program"
return { name = "programs", description = "test", run = function(ctx)
]] .. body .. "\nend }\n"
  local r = t.run({ t.wsb, "-" }, { stdin = text })
  assert(r.code == 0, r.stderr)
  lab.nothing_left(r)
  return r.stdout
end

t.test("what cannot be executed says why", function()
  local said = script [[
    print(core.start { "wsb-nonesuch" })
    print(core.start({ "true" }, { cwd = "/nonesuch" }))
    print(core.start({ "true" }, { log = "/nonesuch/log" }))
    print(pcall(core.start, {}))
  ]]
  assert(said:find "^nil\twsb%-nonesuch: No such file or directory\nnil\t/nonesuch: No such file", said)
  assert(said:find "\nnil\t/nonesuch/log: No such file or directory\nfalse\t", said)
end)

t.test("a program has its own directory and environment, and its exit is told", function()
  local said = script [[
    local path = os.tmpname()
    local p = core.start({ "sh", "-c", "echo $WORD; pwd; exit 3" },
      { log = path, cwd = "/usr", env = { WORD = "hello" } })
    local event = ctx:wait(function() return core.turn(1)[1] end, "5s")
    print(event.kind, event.program == p, event.code, p:alive(), p:sample())
    for line in io.lines(path) do print(line) end
    os.remove(path)
  ]]
  assert(said == "exit\ttrue\t3\tfalse\nhello\n/usr\n", said)
end)

t.test("its children are measured with it, and end with it", function()
  local said = script [[
    local p = program.start { command = "sleep 60 & sleep 60 & echo up; wait", ready = "up" }
    print(ctx:wait(function() return p.worker:sample().threads == 3 end, "5s"))
    p:close()
  ]]
  assert(said == "true\n", said)
end)

t.test("who ignores SIGTERM is killed after the grace", function()
  local said = script [[
    local deaf = program.start {
      command = "trap '' TERM; echo up; while :; do sleep 0.1; done", ready = "up",
    }
    print(deaf:stop "200ms", deaf.exit.signal)
    deaf:close()
    local polite = program.start { command = { "sleep", "60" } }
    print(polite:stop "5s", polite:epitaph())
    polite:close()
  ]]
  assert(said == "false\t9\ntrue\tended by signal 15\n", said)
end)
