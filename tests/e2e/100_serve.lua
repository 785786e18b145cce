-- wsb serve: how it begins, how it ends, what it says when it cannot.

local served = require "served"
local t = require "harness"
local uv = require "luv"

local function fails(flags, code, ...)
  local r = t.run { t.wsb, "serve", table.unpack(flags) }
  assert(r.code == code, ("code %d"):format(r.code))
  assert(r.stdout == "", "a result on stdout")
  for _, word in ipairs { ... } do
    assert(r.stderr:find(word, 1, true), ("stderr does not name %s"):format(word))
  end
end

local function gone(pids)
  return t.wait_until(function()
    for _, pid in ipairs(pids) do
      if served.alive(pid) then return nil end
    end
    return true
  end, 10, "the workers to end")
end

t.test("says where it listens, with the real port", function()
  local server = served.start()
  assert(server.url:find "^ws://127%.0%.0%.1:%d+/feed$", server.url)
  assert(server.port > 0)
  server:open():round_trip()
  server:leave()
end)

t.test("listens where it is told to", function()
  local server = served.start()
  local port = server.port
  server:finish "sigterm"
  local again = served.start { "--port", tostring(port), "--path", "/chat" }
  assert(again.url == ("ws://127.0.0.1:%d/chat"):format(port), again.url)
  again:open("/chat"):round_trip()
  again:leave()
end)

t.test("an IPv6 address stands in brackets", function()
  if not io.open "/proc/net/if_inet6" then t.skip "no IPv6 here" end
  local server = served.start { "--host", "::1" }
  assert(server.url:find "^ws://%[::1%]:%d+/feed$", server.url)
end)

for _, signal in ipairs { "sigint", "sigterm" } do
  t.test(("ends with 0 on %s and tells its clients 1001"):format(signal:upper()), function()
    local server = served.start()
    local workers = server:workers()
    assert(#workers == 1, "one worker")
    local client = server:open()
    server.process:signal(signal)
    assert(client:expect_close() == 1001)
    assert(client:send_close(1001))
    assert(select(2, client:read_all()) == "end")
    assert(server.process:wait(10).code == 0)
    gone(workers)
    server:leave()
  end)
end

t.test("ends though a client neither reads nor answers", function()
  local server = served.start { "--evict-grace", "100ms" }
  local client = server:open()
  local workers = server:workers()
  assert(server:finish "sigterm" == 0)
  gone(workers)
  assert(select(2, client:read_all()) == "reset")
  server:leave()
end)

-- How often the process has gone to sleep.
local function sleeps(pid)
  local file = assert(io.open(("/proc/%d/status"):format(pid)))
  local text = file:read("a")
  file:close()
  return tonumber(text:match "\nvoluntary_ctxt_switches:%s*(%d+)")
end

t.test("rests while nobody is there", function()
  local server = served.start()
  local pid = server:workers()[1]
  local from, began = sleeps(pid), uv.hrtime()
  t.wait_until(function() return sleeps(pid) >= from + 20 end, 10, "the server to have slept 20 times")
  local seconds = (uv.hrtime() - began) / 1e9
  assert(seconds > 0.6, ("it woke up 20 times in %.2f s"):format(seconds))
  server:leave()
end)

t.test("leaves no worker behind when it is killed", function()
  local server = served.start()
  local workers = server:workers()
  server:finish "sigkill"
  gone(workers)
end)

t.test("a port in use is status 69 and named", function()
  local server = served.start()
  fails({ "--port", tostring(server.port) }, 69, tostring(server.port), "in use")
  server:open():round_trip()
  server:leave()
end)

t.test("a host that is no address is status 64", function()
  fails({ "--host", "nonsense" }, 64, "host", "nonsense")
end)

t.test("a host that is not of this machine is status 69", function()
  fails({ "--host", "192.0.2.1" }, 69, "192.0.2.1")
end)

t.test("wrong values and unknown flags are status 64 and named", function()
  fails({ "--port", "70000" }, 64, "port", "70000")
  fails({ "--port=-1" }, 64, "port", "-1")
  fails({ "--high-water-mark", "many" }, 64, "--high-water-mark", "many", "64KiB")
  fails({ "--on-overflow", "explode" }, 64, "--on-overflow", "explode", "drop-oldest")
  fails({ "--high-water-marc", "1MiB" }, 64, "--high-water-marc", "--high-water-mark")
  fails({ "--feed-size", "47" }, 64, "feed", "47", "48")
end)
