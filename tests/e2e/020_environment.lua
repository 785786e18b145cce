-- What this machine refuses: status 69, one line with the thing, its value and a remedy, and nothing left.

local lab = require "lab"
local served = require "served"
local t = require "harness"

local function fails(r, ...)
  assert(r.code == 69, ("code %d"):format(r.code))
  assert(r.stdout == "", "something on stdout")
  local line = r.stderr:match "^wsb: ([^\n]+)\n$"
  assert(line, "not one line")
  for _, word in ipairs { ... } do
    assert(line:find(word, 1, true), ("it does not say '%s'"):format(word))
  end
  lab.nothing_left(r)
end

local function backpressure_fails(flags, prefix, dir, ...)
  dir = dir or t.tmpdir()
  fails(lab.run(dir, lab.backpressure(flags), prefix), ...)
  assert(#lab.names(dir) == 0, "a file was left behind")
end

t.test("a port that is taken, in a script", function()
  local server, dir = served.start(), t.tmpdir()
  lab.write(dir .. "/mine.lua", ([[return { name = "mine", description = "a test's own", run = function(ctx)
    ctx:serve { port = %d } end }]]):format(server.port))
  fails(lab.run(dir, { "mine.lua" }), tostring(server.port), "in use", "choose another")
end)

t.test("fewer descriptors than clients", function()
  backpressure_fails({ clients = "300" }, { "prlimit", "--nofile=200:200" }, nil, "364 wanted",
    "200 available", "ulimit -Hn 364", "fewer clients")
end)

t.test("a cgroup that was asked for and may not be made", function()
  local prefix, dir = lab.unprivileged()
  backpressure_fails({ ["memory-limit-kind"] = "cgroup" }, prefix, dir, "memory limit", "cgroup",
    "run as root", "--memory-limit-kind rlimit")
end)

t.test("a server that its cgroup kills at birth", function()
  lab.need_cgroup()
  backpressure_fails({ ["memory-limit"] = "64KiB" }, nil, nil, "server", "signal 9", "memory limit", "64 KiB")
end)

t.test("a server whose RLIMIT_DATA does not let it live", function()
  backpressure_fails({ ["memory-limit"] = "64KiB", ["memory-limit-kind"] = "rlimit" }, nil, nil, "server",
    "could not start", "memory limit", "64 KiB")
end)

t.test("no more processes", function()
  if t.sanitized then t.skip "LeakSanitizer needs a process of its own when wsb ends" end
  local prefix, dir = lab.unprivileged()
  prefix = table.move({ "prlimit", "--nproc=1:1" }, 1, 2, #prefix + 1, prefix)
  backpressure_fails({}, prefix, dir, "server: cannot be started",
    "ulimit -a")
end)

t.test("a place for the report that cannot be one", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/file", "")
  fails(lab.run(dir, { "backpressure", "--quiet", "--runs-dir", "file" }), "file", "--runs-dir")
  fails(lab.run(dir, { "backpressure", "--quiet", "--runs-dir", "/proc/runs" }), "/proc/runs", "--runs-dir")
  local prefix = lab.unprivileged()
  fails(lab.run(dir, { "backpressure", "--quiet", "--runs-dir", "/usr" }, prefix), "/usr/backpressure",
    "Permission denied", "--runs-dir")
end)
