-- How connections end: either side's Close, no Close at all, a drain.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT = websocket.TEXT

-- A server that drains on a signal; the flags of `wsb serve` have no word for that.
local DRAIN = [[
return {
  name = "drained", description = "Serves, and drains on a signal.",
  options = { window = { "of the drain", "0", type = "duration" } },
  run = function(ctx)
    local server = ctx:serve {}
    io.stdout:write("wsb: serving ", server.url, "\n")
    io.stdout:flush()
    ctx:until_signal()
    server:drain(("%dms"):format(math.floor(ctx.opt.window * 1000)))
  end,
}
]]

local function drained(window)
  local path = t.tmpdir() .. "/drained.lua"
  local file = assert(io.open(path, "w"))
  file:write(DRAIN)
  file:close()
  return served.run { t.wsb, path, "--window", window }
end

served.test("nothing is sent to, nor heard from, who has sent a Close", {}, function(server)
  local leaver, other = server:open(), server:open()
  assert(leaver:send(frame(websocket.CLOSE, "\x03\xE8") .. frame(TEXT, "too late")))
  assert(leaver:expect_close() == 1000)
  assert(other:send_text "hello")
  other:round_trip()
  local rest, how = leaver:read_all()
  assert(rest == "" and how == "end", how)
end)

served.test("what was queued comes before the answer to a Close", {}, function(server)
  local slow, sender = server:open_small(), server:open()
  for i = 1, 20 do assert(sender:send(frame(TEXT, ("%d "):format(i) .. ("x"):rep(100000)))) end
  sender:round_trip()
  assert(slow:send_close(4001))
  local count = 0
  local code = slow:expect_close(function(got)
    count = count + 1
    assert(got.payload:match "^%d+" == tostring(count))
  end)
  assert(code == 4001 and count == 20)
end)

served.test("a client that just goes is let go", {}, function(server)
  local goes, shuts, resets, stays, sender = server:open(), server:open(), server:open(), server:open(),
    server:open()
  goes:close()
  shuts:shut()
  resets:reset()
  assert(select(2, shuts:read_all()) ~= "timeout")
  t.wait_until(function() return not server:holds(goes) and not server:holds(resets) end, 10,
    "the server to notice")
  assert(sender:send_text "who is left")
  assert(stays:expect(TEXT) == "who is left")
end)

served.test("a client that goes while much is queued for it is let go", { "--evict-grace", "100ms" },
  function(server)
    local stalled, sender = server:open_small(), server:open()
    for _ = 1, 20 do assert(sender:send(frame(TEXT, ("x"):rep(100000)))) end
    sender:round_trip()
    stalled:reset()
    t.wait_until(function() return not server:holds(stalled) end, 10, "the server to notice")
    sender:round_trip()
  end)

served.test("who sends a Close and then does not read is reset after the grace",
  { "--evict-grace", "100ms" }, function(server)
    local stalled, sender = server:open_small(), server:open()
    for _ = 1, 60 do assert(sender:send(frame(TEXT, ("x"):rep(100000)))) end
    sender:round_trip()
    assert(stalled:send_close(1000))
    t.wait_until(function() return not server:holds(stalled) end, 10, "the reset")
    sender:round_trip()
  end)

t.test("the end of the server comes as 1001 with its reason", function()
  local server = served.start()
  local client = server:open()
  server.process:signal "sigterm"
  local code, reason = client:expect_close()
  assert(code == 1001 and reason == "going away", reason)
  assert(client:send_close(1001))
  assert(server.process:wait(10).code == 0)
  server:leave()
end)

t.test("a drain closes everybody with 1012 and ends", function()
  local server = drained "0"
  local clients = {}
  for i = 1, 10 do clients[i] = server:open() end
  server.process:signal "sigterm"
  for _, client in ipairs(clients) do
    local code, reason = client:expect_close()
    assert(code == 1012 and reason == "service restart", reason)
    assert(client:send_close(1012))
    assert(select(2, client:read_all()) == "end")
  end
  assert(server.process:wait(10).code == 0)
  server:leave()
end)

t.test("a drain with a window closes one after the other, and serves the rest meanwhile", function()
  local server = drained "1s"
  local clients = {}
  for i = 1, 5 do clients[i] = server:open() end
  server.process:signal "sigterm"
  assert(clients[1]:expect_close() == 1012)
  assert(clients[1]:send_close(1012))
  clients[5]:round_trip() -- the last to go is still served
  for i = 2, 5 do
    assert(clients[i]:expect_close() == 1012)
    assert(clients[i]:send_close(1012))
  end
  assert(server.process:wait(10).code == 0)
  server:leave()
end)
