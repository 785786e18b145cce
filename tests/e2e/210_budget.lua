-- The budget of the whole process: when the queues together are too much, the largest goes first.
-- Runs alone.

local served = require "served"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT = websocket.TEXT

local SIZE = 1000

local function flags(budget)
  return { "--queue-budget", budget, "--send-buffer", "4096", "--evict-grace", "30s" }
end

local function publish(sender, witness, count)
  for i = 1, count do
    assert(sender:send(frame(TEXT, ("%d "):format(i) .. ("x"):rep(SIZE))))
    assert(witness:expect(TEXT):match "^%d+" == tostring(i))
  end
end

served.test("the largest queue is evicted with 1013, the smaller one keeps everything", flags "64KiB",
  function(server)
    local large, small = server:open_small "/large", server:open_small "/small"
    local to_large, of_large = server:open "/large", server:open "/large"
    local to_small, of_small = server:open "/small", server:open "/small"
    publish(to_small, of_small, 40)
    publish(to_large, of_large, 80)
    local code, reason = large:expect_close()
    assert(code == 1013 and reason == "largest queue when the process budget ran out", reason)
    for i = 1, 40 do assert(small:expect(TEXT):match "^%d+" == tostring(i)) end
    small:round_trip()
  end)

served.test("who reads is never evicted for those who do not", flags "32KiB", function(server)
  local stalled = { server:open_small(), server:open_small(), server:open_small() }
  local sender, witness = server:open(), server:open()
  publish(sender, witness, 200)
  for _, client in ipairs(stalled) do assert(client:expect_close() == 1013) end
  sender:round_trip()
  witness:round_trip()
end)

served.test("a message larger than the budget ends the connection it would be queued for", flags "32KiB",
  function(server)
    local receiver, sender = server:open_small(), server:open()
    assert(sender:send(frame(TEXT, ("x"):rep(100000))))
    assert(receiver:expect_close() == 1013)
    sender:round_trip()
  end)
