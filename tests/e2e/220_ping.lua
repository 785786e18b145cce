-- Pings of the server: after silence, and what becomes of one that does not answer. Runs alone.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local frame = websocket.frame
local PING, PONG = websocket.PING, websocket.PONG

local function flags(timeout, grace)
  return { "--ping-interval", "100ms", "--ping-timeout", timeout, "--evict-grace", grace or "1s" }
end

served.test("a silent client is pinged, and stays while it answers", flags "30s", function(server)
  local client = server:open()
  for _ = 1, 4 do
    local payload = client:expect(PING)
    assert(client:send(frame(PONG, payload)))
  end
  client:round_trip()
end)

served.test("one that does not answer is closed with 3008", flags "200ms", function(server)
  local client = server:open()
  client:expect(PING)
  local code, reason = client:expect_close(function(got) assert(got.opcode ~= PING, "pinged twice") end)
  assert(code == 3008 and reason == "deadline passed", reason)
  assert(client:send_close(3008))
  assert(select(2, client:read_all()) == "end")
end)

served.test("one that is gone altogether is reset", flags("200ms", "100ms"), function(server)
  local client = server:open()
  t.wait_until(function() return not server:holds(client) end, 10, "the reset")
  assert(select(2, client:read_all()) == "reset")
end)

served.test("anything that is heard counts as an answer", flags "400ms", function(server)
  local client, other = server:open(), server:open()
  for _ = 1, 8 do
    client:expect(PING)
    assert(client:send_text "not a pong")
    while true do
      local got = assert(other:read_frame())
      if got.opcode == websocket.TEXT then break end
      assert(got.opcode == PING)
      assert(other:send(frame(PONG, got.payload)))
    end
  end
end)
