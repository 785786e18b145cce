-- Clients of a swarm that come back: when, how often, and who says so. The far end is a server of the test's
-- own where it has to misbehave, else `wsb serve`.

local served = require "served"
local swarmed = require "swarmed"
local t = require "harness"
local toys = require "toy"
local uv = require "luv"

local refuse, say_close, upgrade = toys.refuse, toys.say_close, toys.upgrade
local swarm, toy_server = swarmed.start, toys.server

local function await_requests(toy, n)
  t.wait_until(function() return #toy.requests >= n end, 20, n .. " requests")
end

local function free_port()
  local tcp = uv.new_tcp()
  assert(tcp:bind("127.0.0.1", 0))
  local port = tcp:getsockname().port
  tcp:close()
  uv.run "nowait"
  return port
end

local function url_of(port) return ("ws://127.0.0.1:%d/feed"):format(port) end

local function serve_at(port) return served.start { "--port", tostring(port), "--path", "/feed" } end

t.test("nobody comes back unless told to", function()
  local s = swarm { url = url_of(free_port()), clients = "3" }
  s:await_event "connected failed=3 opened=0"
  s:await("clients_failed", 3)
  s:expect { clients_started = 3, clients_refused = 3, clients_waiting = 0, clients_given_up = 0 }
  s:stop()
end)

t.test("all are there once the server is", function()
  local port = free_port()
  local s = swarm { url = url_of(port), clients = "20", reconnect = "fixed", reconnect_base = "50ms",
    reconnect_jitter = "full" }
  t.wait_until(function() return s:count "clients_refused" > 40 end, 20, "attempts in vain")
  local server = serve_at(port)
  s:await("clients_open", 20)
  s:await_event "connected failed=0 opened=20"
  s:expect { clients_opened = 20, clients_waiting = 0, clients_lost = 0, clients_given_up = 0, came_back = 0 }
  assert(s:count "clients_started" == s:count "clients_failed" + 20)
  s:stop()
  assert(server:finish "sigterm" == 0)
end)

t.test("those who lose their server find the next one", function()
  local port = free_port()
  local first = serve_at(port)
  local s = swarm { url = url_of(port), clients = "10", reconnect = "exponential", reconnect_base = "20ms",
    reconnect_cap = "200ms" }
  s:await("clients_open", 10)
  first:finish "sigkill"
  s:await("clients_lost", 10)
  local second = serve_at(port)
  s:await("clients_open", 10)
  s:await("came_back", 10)
  s:expect { clients_opened = 20, clients_closed = 10, clients_waiting = 0 }
  s:stop()
  s:expect { clients_lost = 10, clients_closed = 20 }
  assert(second:finish "sigterm" == 0)
end)

t.test("a fixed wait lies between the attempts, and an answer is no connection", function()
  local toy = toy_server(function(connection) refuse(connection) end)
  local s = swarm { url = toy.url, clients = "1", reconnect = "fixed", reconnect_base = "300ms" }
  await_requests(toy, 4)
  assert(toy.requests[4] - toy.requests[1] > 0.5, toy.requests[4] - toy.requests[1])
  t.wait_until(function() return s:count "clients_answered" >= 3 end, 20, "the answers counted")
  s:expect { clients_opened = 0, clients_refused = 0, clients_expired = 0, clients_told_to_wait = 0 }
  s:stop()
end)

t.test("a list ends in its last wait", function()
  local toy = toy_server(function(connection) refuse(connection) end)
  local s = swarm { url = toy.url, clients = "1", reconnect = "list", reconnect_delays = "0,10ms,400ms" }
  await_requests(toy, 5)
  assert(toy.requests[5] - toy.requests[3] > 0.5, toy.requests[5] - toy.requests[3])
  s:stop()
end)

t.test("Retry-After goes before the policy", function()
  local toy = toy_server(function(connection, n)
    if n == 1 then refuse(connection, "Retry-After: 1\r\n") else upgrade(connection) end
  end)
  local s = swarm { url = toy.url, clients = "1", reconnect = "fixed", reconnect_base = "1h" }
  s:await("clients_open", 1)
  assert(toy.requests[2] - toy.requests[1] > 0.6, toy.requests[2] - toy.requests[1])
  s:expect { clients_told_to_wait = 1, clients_answered = 1, clients_started = 2 }
  s:stop()
end)

t.test("who does not honour it goes by the policy", function()
  local toy = toy_server(function(connection, n)
    if n < 4 then refuse(connection, "Retry-After: 3600\r\n") else upgrade(connection) end
  end)
  local s = swarm { url = toy.url, clients = "1", reconnect = "fixed", reconnect_base = "10ms",
    reconnect_honour = "false" }
  s:await("clients_open", 1)
  s:expect { clients_told_to_wait = 0, clients_answered = 3 }
  s:stop()
end)

t.test("the window in a close reason goes before the policy", function()
  local toy = toy_server(function(connection, n)
    upgrade(connection)
    if n > 1 then return end
    say_close(connection, 1012, '{"wsb":"reconnect","window_ms":300}')
    connection.tcp:shutdown()
  end)
  local s = swarm { url = toy.url, clients = "1", reconnect = "fixed", reconnect_base = "1h" }
  s:await("came_back", 1)
  s:expect { clients_told_to_wait = 1, clients_lost = 1, clients_open = 1, clients_started = 2 }
  s:stop()
end)

t.test("it gives up after so many attempts", function()
  local s = swarm { url = url_of(free_port()), clients = "5", reconnect = "fixed", reconnect_base = "10ms",
    reconnect_attempts = "3" }
  s:await_event "connected failed=5 opened=0"
  s:await("clients_given_up", 5)
  s:expect { clients_started = 20, clients_failed = 20, clients_refused = 20, clients_waiting = 0 }
  s:stop()
end)

t.test("a budget makes it wait for a token", function()
  local s = swarm { url = url_of(free_port()), clients = "1", reconnect = "fixed", reconnect_base = "10ms",
    reconnect_budget = "5" }
  s:await("clients_over_budget", 1)
  s:expect { clients_started = 6, clients_waiting = 1 }
  s:stop()
end)

t.test("an attempt that gets no answer is closed, not reset, and made again", function()
  local toy = toy_server(function() end)
  local s = swarm { url = toy.url, clients = "2", connect_timeout = "200ms", reconnect = "fixed",
    reconnect_base = "10ms", reconnect_attempts = "2" }
  s:await("clients_given_up", 2)
  s:expect { clients_expired = 6, clients_failed = 6, clients_refused = 0, clients_answered = 0 }
  t.wait_until(function() return toy.ends["end"] == 6 end, 10, "the ends of six connections")
  assert(toy.connections == 6)
  s:stop()
end)

t.test("a server gone silent is given up after a ping, and found again", function()
  local server = served.start { "--path", "/feed" }
  local s = swarm { url = server.url, clients = "3", ping_interval = "200ms", ping_timeout = "1s",
    reconnect = "fixed", reconnect_base = "100ms" }
  s:await("clients_open", 3)
  local worker = server:workers()[1]
  assert(uv.kill(worker, "sigstop"))
  s:await("clients_lost", 3)
  s:expect { dropped = 3 }
  assert(uv.kill(worker, "sigcont"))
  s:await("clients_open", 3)
  s:await("came_back", 3)
  s:stop()
  assert(server:finish "sigterm" == 0)
end)

t.test("a server that answers pings is kept", function()
  local server = served.start { "--path", "/feed", "--ping-interval", "0" }
  local s = swarm { url = server.url, clients = "2", ping_interval = "100ms", ping_timeout = "5s" }
  s:await("clients_open", 2)
  t.wait_until(function()
    return s:count "bytes_received" >= 2 * 3 * 2 -- three empty pongs for each, two bytes long
  end, 20, "pongs")
  s:expect { clients_lost = 0, dropped = 0 }
  s:stop()
  assert(server:finish "sigterm" == 0)
end)

t.test("a stall goes on after the way back", function()
  local port = free_port()
  local first = serve_at(port)
  local s = swarm({ url = url_of(port), clients = "3", stall_after = "1ms", reconnect = "fixed",
    reconnect_base = "50ms" }, [[
      if event.name == "connected" then worker:send "start" end
  ]])
  s:await("clients_stalled", 3)
  first:finish "sigkill"
  s:await("clients_lost", 3)
  local second = serve_at(port)
  s:await("came_back", 3)
  s:await("clients_stalled", 3)
  s:stop()
  second:finish "sigkill"
end)

t.test("a script decides for each", function()
  local port = free_port()
  local s = swarm({ url = url_of(port), clients = "3", reconnect = "script" }, [[
    if event.name == "retries" then
      local answers = {}
      for id in pairs(values) do answers[id] = id == "0" and "never" or "20" end
      worker:send("retry", answers)
    end
  ]])
  t.wait_until(function() return s:count "clients_refused" > 8 end, 20, "attempts in vain")
  local server = serve_at(port)
  s:await("clients_open", 2)
  s:await_event "connected failed=1 opened=2"
  s:expect { clients_given_up = 1, clients_waiting = 0 }
  local seen = table.concat(s.events, "\n")
  assert(seen:find "0=1 0 1006", seen)
  assert(seen:find "1=1 0 1006", seen)
  assert(seen:find "1=2 20 1006", seen)
  assert(seen:find "2=3 20 1006", seen)
  assert(not seen:find "0=2 ", seen)
  s:stop()
  assert(server:finish "sigterm" == 0)
end)

t.test("a script is told the status of a refusal, and wrong answers are refused", function()
  local toy = toy_server(function(connection) refuse(connection) end)
  local s = swarm({ url = toy.url, clients = "1", reconnect = "script" }, [[
    if event.name == "retries" then
      worker:send("retry", { ["1"] = "5" })
      worker:send("retry", { ["0"] = "soon" })
    end
    if event.error then print("event", event.error) end
  ]])
  s:await_event "retries 0=1 0 503"
  s:await_event "retry: '1=5' is not accepted; give CLIENT=MS or CLIENT=never"
  s:await_event "retry: '0=soon' is not accepted; give CLIENT=MS or CLIENT=never"
  s:expect { clients_waiting = 1, clients_started = 1 }
  s:stop()
end)

t.test("more questions than the channel holds are all asked", function()
  local s = swarm({ url = url_of(free_port()), clients = "5000", connect_rate = "1M",
    reconnect = "script" }, [[
    if event.name == "retries" then
      local answers = {}
      for id in pairs(values) do answers[id] = "never" end
      worker:send("retry", answers)
    end
  ]])
  s:await("clients_given_up", 5000)
  s:expect { clients_waiting = 0, clients_started = 5000 }
  s:stop()
end)

t.test("stop cancels those who wait", function()
  local s = swarm { url = url_of(free_port()), clients = "5", reconnect = "fixed", reconnect_base = "1h" }
  s:await("clients_waiting", 5)
  s:stop()
  s:expect { clients_given_up = 0, clients_started = 5 }
end)

t.test("options that do not fit together are named", function()
  local s = swarm { url = url_of(free_port()), reconnect = "exponential", reconnect_base = "0" }
  s:await_event("failed why=reconnect_base: 0 is not accepted with exponential and decorrelated; give more")
end)
