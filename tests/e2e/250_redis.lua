-- ctx:redis: a private Redis, hurt and healed; a cluster; one that is somebody else's.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local HEAD = [[
return { name = "ask", description = "Asks a Redis.", options = { redis = { "its URL", "" } },
  run = function(ctx)
    local r = ctx:redis { %s }
    %s
  end }
]]

local function need()
  if not os.execute "command -v redis-server >/dev/null" then t.skip "redis-server is not installed" end
end

-- A port that nobody listens on.
local function free_port()
  local socket = uv.new_tcp()
  socket:bind("127.0.0.1", 0)
  local port = socket:getsockname().port
  socket:close()
  return port
end

-- Runs `body` with r, and looks for what is left.
local function script(options, body, ...)
  local dir = t.tmpdir()
  lab.write(dir .. "/ask.lua", HEAD:format(options, body))
  local r = lab.run(dir, { "ask.lua", ... })
  for left in r.stdout:gmatch "directory (/[^\n]+)" do
    assert(not uv.fs_stat(left), left .. " was left")
  end
  lab.nothing_left(r)
  return r
end

local function said(options, body, expected, ...)
  local r = script(options, body .. "\nprint('directory ' .. (r.directory or '/none'))", ...)
  local words = r.stdout:gsub("directory [^\n]*\n", "")
  assert(r.code == 0 and words == expected, ("code %d\n%s%s"):format(r.code, r.stdout, r.stderr))
end

t.test("it answers, and tells what it costs", function()
  need()
  said('output_buffer = "pubsub 1mb 512kb 5"', [[
    print(r:command "PING", r:alive(), r:memory() > 1e6, r:cpu() >= 0)
    print(r:command("EVAL", "return {1, 'a', false, {2, ''}}", 0)[4][1])
    print((r:command("CONFIG", "GET", "client-output-buffer-limit")[2]:match "pubsub.*"))
    print(r:command "NONSENSE")
    print(#r:command("EVAL", "return string.rep('x', 3000000)", 0))
    print(r:info("server").tcp_port == tostring(r.port), r.url == "redis://127.0.0.1:" .. r.port)]],
    "PONG\ttrue\ttrue\ttrue\n2\npubsub 1048576 524288 5\nnil\tERR unknown command 'NONSENSE', with args "
    .. "beginning with: \n3000000\ntrue\ttrue\n")
end)

t.test("killed it forgets, paused it does not", function()
  need()
  said("", [[
    r:command("SET", "a", "b")
    r:pause()
    print((select(2, r:command "PING")), r:alive())
    r:resume()
    print(r:command("GET", "a"))
    r:kill()
    print(r:alive(), r:command "PING")
    r:restart()
    print(r:command("GET", "a"), r:alive())]], "timeout\ttrue\nb\nfalse\tnil\tfailed\nfalse\ttrue\n")
  said("persistent = true", [[
    r:command("SET", "a", "b")
    ctx:wait(function() return r:info("persistence").aof_pending_bio_fsync == "0" end, "5s")
    r:kill()
    r:restart()
    print(r:command("GET", "a"))]], "b\n")
end)

t.test("three nodes are a cluster", function()
  need()
  said("cluster = 3", [[
    local from = {}
    for _, range in ipairs(r:command("CLUSTER", "SLOTS")) do
      from[#from + 1] = range[1]
    end
    table.sort(from)
    print(#r.nodes, table.concat(from, " "))
    for _, node in ipairs(r.nodes) do
      print((node:command("CLUSTER", "INFO"):match "cluster_state:(%a+)"))
    end]], "3\t0 5461 10922\nok\nok\nok\n")
end)

t.test("another's is used and not hurt", function()
  need()
  local port = free_port()
  local theirs = t.start { "redis-server", "--port", tostring(port), "--save", "", "--bind", "127.0.0.1" }
  theirs:line("Ready to accept connections", 20)
  local url = ("redis://127.0.0.1:%d"):format(port)
  said("", [[print(r:command "PING", r:alive(), r.prefix ~= "wsb")]], "PONG\ttrue\ttrue\n", "--redis", url)
  for _, harm in ipairs { "r:kill()", "r:pause()", "r:command 'FLUSHALL'", "r:restart()" } do
    local r = script("", harm, "--redis", url)
    assert(r.code == 69 and r.stderr:find("not ours to hurt: leave --redis out", 1, true), r.stderr)
  end
  said("", [[print(r:command "PING")]], "PONG\n", "--redis", url)
  local r = script("", "", "--redis", "http://127.0.0.1")
  assert(r.code == 64 and r.stderr:find("--redis: 'http://127.0.0.1' is not accepted", 1, true), r.stderr)
end)

t.test("it ends with an error and with ^C", function()
  need()
  local r = script("", "print('directory ' .. r.directory) error 'oh no'")
  assert(r.code == 70 and r.stdout:find "directory /")
  local dir = t.tmpdir()
  lab.write(dir .. "/ask.lua", HEAD:format("", "print(r.directory) io.stdout:flush() ctx:sleep '60s'"))
  local process = lab.start(dir, { "ask.lua" })
  local left = process:line("^(/.+)$", 20)
  assert(uv.fs_stat(left))
  process:signal "sigint"
  assert(process:wait(20), "it went on")
  assert(process.code == 130 and not uv.fs_stat(left), left .. " was left")
  lab.nothing_left(process)
end)

t.test("without redis-server it says what to install", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/ask.lua", HEAD:format("", ""))
  local process = t.start({ t.wsb, "ask.lua" }, { cwd = dir, env = { PATH = "/nonesuch" } })
  assert(process:wait(20) and process.code == 69, process.stderr)
  assert(process.stderr:find("apt-get install redis-server", 1, true), process.stderr)
end)

t.test("what it does not take is named", function()
  local r = script("clutser = 3", "")
  assert(r.code == 70 and r.stderr:find("ctx:redis.clutser: no such field: did you mean cluster?", 1, true))
  r = script("cluster = 2", "")
  assert(r.code == 70 and r.stderr:find("give 3 nodes or more", 1, true), r.stderr)
end)
