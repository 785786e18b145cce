-- The server's own feed: its rate, its size, its numbers.

local served = require "served"
local websocket = require "websocket"

local STAMP = "^wsb1 (%x%x%x%x%x%x%x%x) (" .. ("%x"):rep(16) .. ") (" .. ("%x"):rep(16) .. ") (.*)$"

-- Publisher, sequence number, intended time in nanoseconds and fill of the next message.
local function read_stamp(client)
  local payload = client:expect(websocket.TEXT)
  local publisher, sequence, intended, fill = payload:match(STAMP)
  assert(publisher, payload)
  return tonumber(publisher, 16), tonumber(sequence, 16), tonumber(intended, 16), fill, #payload
end

served.test("messages of the size, stamped, without gaps, at the rate",
  { "--feed", "200/s", "--feed-size", "100" }, function(server)
    local client = server:open()
    local _, first, start = read_stamp(client)
    for i = 1, 100 do
      local publisher, sequence, intended, fill, size = read_stamp(client)
      assert(publisher == 0 and size == 100)
      assert(sequence == first + i, ("%d after %d"):format(sequence, first + i - 1))
      -- The schedule is in the stamps, so it is exact whatever the machine is doing.
      assert(math.abs(intended - start - i * 5000000) <= 1, intended)
      assert(fill == string.char(97 + sequence % 26):rep(52), fill)
    end
  end)

served.test("the smallest size is the bare stamp", { "--feed", "100/s", "--feed-size", "48" },
  function(server)
    local _, _, _, fill, size = read_stamp(server:open())
    assert(size == 48 and fill == "")
  end)

served.test("a large size", { "--feed", "20/s", "--feed-size", "1MiB" }, function(server)
  local client = server:open()
  for _ = 1, 3 do assert(#client:expect(websocket.TEXT) == 1 << 20) end
end)

served.test("goes to /feed and to no other path", { "--feed", "200/s" }, function(server)
  local other, client = server:open "/other", server:open "/feed"
  for _ = 1, 20 do read_stamp(client) end
  other:round_trip()
end)

served.test("goes to --path", { "--feed", "100/s", "--path", "/a" }, function(server)
  read_stamp(server:open "/a")
end)

served.test("goes to --feed-topic", { "--feed", "100/s", "--feed-topic", "/b" }, function(server)
  local client = server:open "/b"
  read_stamp(client)
  read_stamp(client)
end)

served.test("every subscriber gets the same", { "--feed", "200/s" }, function(server)
  local a, b = server:open(), server:open()
  local _, from = read_stamp(b)
  local _, number = read_stamp(a)
  while number < from do _, number = read_stamp(a) end
  for _ = 1, 50 do
    local _, of_a, time_a = read_stamp(a)
    local _, of_b, time_b = read_stamp(b)
    assert(of_a == of_b and time_a == time_b)
  end
end)
