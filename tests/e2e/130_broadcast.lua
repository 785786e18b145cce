-- Broadcast: who gets a message, and that it is the same message.

local served = require "served"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT, BINARY, CONTINUATION = websocket.TEXT, websocket.BINARY, websocket.CONTINUATION

local function open(server, count, target)
  local clients = {}
  for i = 1, count do clients[i] = server:open(target) end
  return table.unpack(clients)
end

served.test("a message goes to all others, not to its sender", {}, function(server)
  local sender, a, b = open(server, 3)
  assert(sender:send_text "hello")
  assert(a:expect(TEXT) == "hello")
  assert(b:expect(TEXT) == "hello")
  sender:round_trip()
end)

served.test("--echo: to its sender too", { "--echo" }, function(server)
  local sender, other = open(server, 2)
  assert(sender:send_text "hello")
  assert(sender:expect(TEXT) == "hello")
  assert(other:expect(TEXT) == "hello")
end)

served.test("each path is a topic of its own; a query is not", { "--echo" }, function(server)
  local a, b, with_query, case = server:open "/a", server:open "/b", server:open "/a?key=x", server:open "/A"
  assert(a:send_text "to a")
  assert(b:send_text "to b")
  assert(case:send_text "to A")
  assert(a:expect(TEXT) == "to a")
  assert(with_query:expect(TEXT) == "to a")
  assert(b:expect(TEXT) == "to b")
  assert(case:expect(TEXT) == "to A")
  for _, client in ipairs { a, b, with_query, case } do client:round_trip() end
end)

served.test("text stays text, binary binary, byte for byte", {}, function(server)
  local sender, other = open(server, 2)
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  local all = table.concat(bytes)
  assert(sender:send(frame(BINARY, all) .. frame(TEXT, "\xE2\x82\xAC\0") .. frame(BINARY, "")))
  assert(other:expect(BINARY) == all)
  assert(other:expect(TEXT) == "\xE2\x82\xAC\0")
  assert(other:expect(BINARY) == "")
end)

served.test("sizes at every border of the length's form, 0 bytes to 1 MiB", {}, function(server)
  local sender, other = open(server, 2)
  for _, size in ipairs { 0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20 } do
    local payload = ("0123456789"):rep(size // 10 + 1):sub(1, size)
    assert(sender:send(frame(BINARY, payload, { mask = size > 100000 and "\0\0\0\0" or nil })))
    assert(other:expect(BINARY) == payload, ("%d bytes"):format(size))
  end
end)

served.test("order is kept, however the messages were cut", {}, function(server)
  local sender, other = open(server, 2)
  local frames = {}
  for i = 1, 2000 do frames[i] = frame(TEXT, tostring(i)) end
  local bytes = table.concat(frames)
  for at = 1, #bytes, 1009 do assert(sender:send(bytes:sub(at, at + 1008))) end
  for i = 1, 2000 do assert(other:expect(TEXT) == tostring(i)) end
end)

served.test("a fragmented message arrives as one", {}, function(server)
  local sender, other = open(server, 2)
  assert(sender:send(frame(TEXT, "", { fin = false }) .. frame(CONTINUATION, "one", { fin = false })))
  sender:round_trip()
  assert(sender:send(frame(CONTINUATION, " message") .. frame(BINARY, "next")))
  assert(other:expect(TEXT) == "one message")
  assert(other:expect(BINARY) == "next")
end)

served.test("half a message is never passed on", {}, function(server)
  local sender, other, third = open(server, 3)
  assert(sender:send(frame(TEXT, "never ends", { fin = false })))
  sender:round_trip()
  sender:close()
  assert(third:send_text "whole")
  assert(other:expect(TEXT) == "whole")
end)

served.test("who comes later gets what is sent later", {}, function(server)
  local sender = server:open()
  assert(sender:send_text "before")
  sender:round_trip()
  local late = server:open()
  assert(sender:send_text "after")
  assert(late:expect(TEXT) == "after")
end)

served.test("two senders' messages come whole, each in its order", {}, function(server)
  local a, b, other = open(server, 3)
  local seen = { a = 0, b = 0 }
  for i = 1, 200 do
    assert(a:send_text(("a %d"):format(i)))
    assert(b:send_text(("b %d"):format(i)))
  end
  for _ = 1, 400 do
    local who, number = other:expect(TEXT):match "^(%l) (%d+)$"
    assert(tonumber(number) == seen[who] + 1)
    seen[who] = seen[who] + 1
  end
end)
