-- What an upgrade costs the server and whom it lets in, seen from outside and in its counters.

local lab = require "lab"
local served = require "served"
local t = require "harness"
local uv = require "luv"
local websocket = require "websocket"

local REQUEST = websocket.request "/feed"
local RECONNECT = '{"wsb":"reconnect","window_ms":15000}'

-- A server that leaves its counters in a file, and drains or stops once another says so.
local SCRIPT = [[
return {
  name = "counted", description = "Serves, and says what it counts.",
  options = {
    settings = { "name=value;...", "" },
    at = { "directory of the files", "." },
  },
  run = function(ctx)
    local options = {}
    for name, value in ctx.opt.settings:gmatch "([%w_]+)=([^;]*)" do options[name] = value end
    local server = ctx:serve(options)
    local function count()
      local file = assert(io.open(ctx.opt.at .. "/new", "w"))
      for name, value in pairs(server:counts()) do file:write(name, " ", value, "\n") end
      file:close()
      os.rename(ctx.opt.at .. "/new", ctx.opt.at .. "/counts")
    end
    local function order()
      count()
      local file = io.open(ctx.opt.at .. "/order", "r")
      if not file then return nil end
      local word = file:read "a"
      file:close()
      return word
    end
    print("wsb: serving " .. server.url)
    io.stdout:flush()
    if ctx:wait(order, "5m") == "drain" then server:drain() else server:stop() end
    count()
  end,
}
]]

-- A test with a server of its own that has these settings. count(name) is a counter's value.
local function admission(name, settings, body)
  t.test(name, function()
    local dir = t.tmpdir()
    lab.write(dir .. "/counted.lua", SCRIPT)
    local server = served.run { t.wsb, dir .. "/counted.lua", "--settings", settings, "--at", dir }
    local function count(counter)
      return tonumber(("\n" .. (lab.read(dir .. "/counts") or "")):match("\n" .. counter .. " (%d+)\n"))
    end
    local function order(word)
      lab.write(dir .. "/order.new", word)
      os.rename(dir .. "/order.new", dir .. "/order")
    end
    local ok, err = xpcall(body, debug.traceback, server, count, order)
    server:leave()
    if not ok then error(err, 0) end
    order "stop"
    assert(server.process:wait(15) and server.process.code == 0, "how it ended")
    assert(not server.process.stderr:find "Sanitizer", "a sanitizer complains")
  end)
end

local function counts(count, wanted)
  for name, value in pairs(wanted) do
    t.wait_until(function() return count(name) == value end, 10, ("%s to be %d"):format(name, value))
  end
end

-- A client that has asked to come in.
local function asks(server)
  local client = server:connect()
  assert(client:send(REQUEST))
  return client
end

local function answered(client, status)
  local head, got = client:read_head()
  assert(got == status, head)
  return head
end

local function told_to_wait(client)
  local seconds = tonumber(answered(client, 503):match "\r\nRetry%-After: (%d+)\r\n")
  assert(seconds >= 1 and seconds <= 15, seconds)
  return seconds
end

admission("a look-up takes its time, and the second in line comes after the first",
  "auth_time=300ms;auth_slots=1", function(server, count)
    local began = uv.hrtime()
    local first, second = asks(server), asks(server)
    answered(first, 101)
    assert(uv.hrtime() - began >= 0.3e9)
    answered(second, 101)
    assert(uv.hrtime() - began >= 0.6e9)
    first:round_trip()
    second:round_trip()
    counts(count, { auth_started = 2, auth_wasted = 0, auth_waiting = 0, handshakes_in_flight = 0,
      connections_upgraded = 2, connections_abandoned = 0 })
  end)

admission("as many look-ups at a time as there are slots", "auth_time=2s;auth_slots=3",
  function(server, count)
    local clients = {}
    for i = 1, 4 do clients[i] = asks(server) end
    counts(count, { auth_started = 3, auth_waiting = 1, handshakes_in_flight = 4 })
    for _, client in ipairs(clients) do answered(client, 101) end
  end)

admission("what is sent while a look-up goes on is heard after it", "auth_time=200ms;echo=true",
  function(server)
    local client = server:connect()
    assert(client:send(REQUEST .. websocket.frame(websocket.TEXT, "with the head")))
    assert(client:send_text "later")
    answered(client, 101)
    assert(client:expect(websocket.TEXT) == "with the head")
    assert(client:expect(websocket.TEXT) == "later")
  end)

admission("who may not come in anyway is refused without a look-up", "auth_time=1h;subscribe_token=s",
  function(server, count)
    answered(asks(server), 401)
    counts(count, { auth_started = 0, connections_refused = 1 })
  end)

admission("a client that waits for its look-up is not timed out", "auth_time=600ms;handshake_timeout=100ms",
  function(server, count)
    answered(asks(server), 101)
    counts(count, { connections_timed_out = 0 })
  end)

-- One is looked up, two leave while they wait, a fourth stays.
local function two_leave(server, count)
  local first, clients = asks(server), {}
  counts(count, { auth_started = 1 })
  for i = 1, 3 do clients[i] = asks(server) end
  counts(count, { auth_waiting = 3 })
  clients[1]:close()
  clients[2]:reset()
  answered(first, 101)
  answered(clients[3], 101)
end

admission("auth_abandoned=serve looks up also who has left", "auth_time=1200ms;auth_slots=1",
  function(server, count)
    two_leave(server, count)
    counts(count, { auth_started = 4, auth_wasted = 2, auth_skipped = 0, connections_abandoned = 2,
      connections_upgraded = 2, handshakes_in_flight = 0 })
  end)

admission("auth_abandoned=skip does not", "auth_time=1200ms;auth_slots=1;auth_abandoned=skip",
  function(server, count)
    two_leave(server, count)
    counts(count, { auth_started = 2, auth_wasted = 0, auth_skipped = 2, connections_abandoned = 2,
      connections_upgraded = 2, handshakes_in_flight = 0 })
  end)

admission("the same over TLS", "auth_time=2s;auth_slots=1;auth_abandoned=skip;tls=auto",
  function(server, count)
    local function connect()
      return t.start({ "openssl", "s_client", "-ign_eof", "-connect", "127.0.0.1:" .. server.port },
        { stdin = REQUEST })
    end
    local first = connect()
    counts(count, { auth_started = 1 })
    local second = connect()
    counts(count, { auth_waiting = 1 })
    second:stop()
    local function upgraded() return first.stdout:find("HTTP/1.1 101 ", 1, true) end
    t.wait_until(upgraded, 10, "the 101")
    counts(count, { auth_started = 1, auth_skipped = 1, connections_abandoned = 1 })
  end)

local FULL = "auth_time=1m;auth_slots=1;auth_queue=1;reconnect_window=15s;auth_overflow="

local function fill(server, count)
  local clients = { asks(server), asks(server) }
  counts(count, { auth_started = 1, auth_waiting = 1 })
  return clients
end

admission("auth_overflow=refuse: 503, each with another Retry-After", FULL .. "refuse",
  function(server, count)
    fill(server, count)
    local seen, kinds = {}, 0
    for _ = 1, 20 do
      local seconds = told_to_wait(asks(server))
      kinds = kinds + (seen[seconds] and 0 or 1)
      seen[seconds] = true
    end
    assert(kinds >= 3, kinds)
    counts(count, { connections_refused = 20, auth_started = 1, auth_waiting = 1 })
  end)

admission("auth_overflow=close: upgraded, told when to come back, and not heard", FULL .. "close",
  function(server, count)
    fill(server, count)
    local client = server:connect()
    assert(client:send(REQUEST .. websocket.frame(websocket.TEXT, "no")))
    answered(client, 101)
    local code, reason = client:expect_close()
    assert(code == 1013 and reason == RECONNECT, reason)
    assert(client:send_close(1013))
    assert(select(2, client:read_all()) == "end")
    counts(count, { connections_turned_away = 1, auth_started = 1, messages_in = 0, connections_open = 0 })
  end)

-- Recv-Q and Send-Q of the listening socket.
local function listening(port)
  local r = t.run { "ss", "-Hlnt", "sport = :" .. port }
  local length, limit = r.stdout:match "LISTEN%s+(%d+)%s+(%d+)"
  return tonumber(length), tonumber(limit)
end

admission("auth_overflow=wait: more stay in the kernel's accept queue",
  "auth_time=1500ms;auth_slots=2;auth_queue=0;backlog=64", function(server, count)
    if t.run({ "sh", "-c", "command -v ss" }).code ~= 0 then t.skip "ss is not installed" end
    local clients = {}
    for i = 1, 5 do clients[i] = asks(server) end
    counts(count, { accept_queue = 3 })
    local length, limit = listening(server.port)
    assert(length == 3 and limit == 64, ("%s of %s"):format(length, limit))
    counts(count, { accept_queue_limit = 64, connections_accepted = 2 })
    for _, client in ipairs(clients) do answered(client, 101) end
    counts(count, { accept_queue = 0, auth_started = 5, accept_pauses = 0, handshakes_displaced = 0 })
  end)

admission("accept_rate: no more are accepted than the rate and a small burst", "accept_rate=20/s",
  function(server, count)
    local began = uv.hrtime()
    local clients = {}
    for i = 1, 30 do clients[i] = asks(server) end
    t.wait_until(function()
      local accepted, elapsed = count "connections_accepted" or 0, (uv.hrtime() - began) / 1e9
      assert(accepted <= 20 * elapsed + 2, ("%d in %.3f s"):format(accepted, elapsed))
      return accepted == 30
    end, 20, "all to be accepted")
    for _, client in ipairs(clients) do answered(client, 101) end
    counts(count, { accept_pauses = 0 })
  end)

served.test("welcome_size: so many bytes come first, and whole", { "--welcome-size", "100000" },
  function(server)
    for _ = 1, 3 do
      local client, parts, left = server:open(), {}, 100000
      while left > 0 do
        local text = client:expect(websocket.TEXT)
        assert(#text == math.min(left, 16384), #text)
        left = left - #text
        parts[#parts + 1] = text
      end
      local alphabet = ("abcdefghijklmnopqrstuvwxyz"):rep(700)
      for _, part in ipairs(parts) do assert(part == alphabet:sub(1, #part)) end
      client:round_trip()
    end
  end)

served.test("welcome_size: it counts against the mark",
  { "--welcome-size", "1MiB", "--high-water-mark", "64KiB", "--reconnect-window", "15s" }, function(server)
    local code, reason = server:open():expect_close()
    assert(code == 1013 and reason == RECONNECT, reason)
  end)

admission("a drain answers who is on the way in, also from the accept queue",
  "auth_time=2s;auth_slots=1;auth_queue=0;reconnect_window=15s;drain_window=0",
  function(server, count, order)
    local member = asks(server)
    answered(member, 101)
    local clients = {}
    for i = 1, 3 do clients[i] = asks(server) end
    counts(count, { auth_started = 2, accept_queue = 2 })
    order "drain"
    for _, client in ipairs(clients) do
      told_to_wait(client)
      assert(select(2, client:read_all()) == "end")
      client:close()
    end
    local code, reason = member:expect_close()
    assert(code == 1012 and reason == RECONNECT, reason)
    assert(member:send_close(1012))
    assert(server.process:wait(10) and server.process.code == 0)
    counts(count, { connections_refused = 3, handshakes_in_flight = 0, accept_queue_limit = 0 })
  end)

served.test("tls_auto_key=rsa: the certificate has such a key", { "--tls", "auto", "--tls-auto-key", "rsa" },
  function(server)
    local client = t.start({ "openssl", "s_client", "-ign_eof", "-connect", "127.0.0.1:" .. server.port },
      { stdin = REQUEST })
    local function answer() return client.code or client.stdout:find("HTTP/1.1 101 ", 1, true) end
    t.wait_until(answer, 10, "an answer")
    assert(client.stdout:find "Server public key is 2048 bit", client.stdout)
    assert(client.stdout:find "RSA", client.stdout)
    client:stop()
  end)

t.test("a value that an option cannot have is refused, and the option is named", function()
  local function refuses(option, value)
    local r = t.run { t.wsb, "serve", "--" .. option, value }
    local named = r.stderr:find(option, 1, true) or r.stderr:find((option:gsub("-", "_")), 1, true)
    assert(r.code == 64 and named, ("%s %s: %d %s"):format(option, value, r.code, r.stderr))
  end
  refuses("auth-slots", "0")
  refuses("auth-overflow", "drop")
  refuses("auth-abandoned", "maybe")
  refuses("accept-rate", "fast")
  refuses("tls-auto-key", "dsa")
  refuses("welcome-size", "8GiB")
end)
