-- Frames: ping, close, and every way to break the protocol with the code that answers it.

local served = require "served"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT, BINARY, CONTINUATION = websocket.TEXT, websocket.BINARY, websocket.CONTINUATION
local PING, PONG, CLOSE = websocket.PING, websocket.PONG, websocket.CLOSE

-- What breaks the protocol is answered with that code, and then with the end; the others do not notice.
local function fails(server, bytes, code)
  local client, other = server:open(), server:open()
  assert(client:send(bytes))
  local got = client:expect_close()
  assert(got == code, ("%d instead of %d to %q"):format(got, code, bytes:sub(1, 40)))
  assert(client:send(frame(CLOSE, (">I2"):pack(code))))
  local rest, how = client:read_all()
  assert(rest == "" and how == "end", how)
  other:round_trip()
  other:close()
end

served.test("a ping gets a pong with the same payload", {}, function(server)
  local client = server:open()
  for _, payload in ipairs { "", "x", "\0\xFF\xC0", ("p"):rep(125) } do
    assert(client:send(frame(PING, payload)))
    assert(client:expect(PONG) == payload)
  end
end)

-- RFC 6455 section 5.5.3 lets a server answer the latest of them only.
served.test("of many pings at once at least the last is answered, in order", {}, function(server)
  local client, bytes, last = server:open(), {}, 0
  for i = 1, 50 do bytes[i] = frame(PING, tostring(i)) end
  assert(client:send(table.concat(bytes)))
  while last < 50 do
    local number = tonumber(client:expect(PONG))
    assert(number > last)
    last = number
  end
end)

served.test("a pong nobody asked for is ignored", {}, function(server)
  local client = server:open()
  assert(client:send(frame(PONG, "hello")))
  client:round_trip()
end)

served.test("a ping inside a fragmented message is answered at once", { "--echo" }, function(server)
  local client = server:open()
  assert(client:send(frame(TEXT, "Hel", { fin = false }) .. frame(PING, "here")))
  assert(client:expect(PONG) == "here")
  assert(client:send(frame(CONTINUATION, "", { fin = false }) .. frame(PING, "there")))
  assert(client:expect(PONG) == "there")
  assert(client:send(frame(CONTINUATION, "lo")))
  assert(client:expect(TEXT) == "Hello")
end)

served.test("frames that come byte by byte are read", { "--echo" }, function(server)
  local client = server:open()
  local bytes = frame(TEXT, "slow") .. frame(BINARY, ("b"):rep(200))
  for byte in bytes:gmatch "." do assert(client:send(byte)) end
  assert(client:expect(TEXT) == "slow")
  assert(client:expect(BINARY) == ("b"):rep(200))
  for byte in frame(PING, "!"):gmatch "." do assert(client:send(byte)) end
  assert(client:expect(PONG) == "!")
end)

served.test("a Close is answered with its code, then the server ends", {}, function(server)
  for _, code in ipairs { 1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999 } do
    local client = server:open()
    assert(client:send_close(code, "bye"))
    local got = client:expect_close()
    assert(got == code, ("%d to %d"):format(got, code))
    local rest, how = client:read_all()
    assert(rest == "" and how == "end", how)
  end
end)

served.test("a Close without a code is answered and the server ends", {}, function(server)
  local client = server:open()
  assert(client:send_close())
  local code = client:expect_close()
  assert(code == 1000 or code == 1005, code)
  assert(select(2, client:read_all()) == "end")
end)

served.test("1002: unmasked, reserved bits, unknown opcodes", {}, function(server)
  fails(server, frame(TEXT, "x", { mask = false }), 1002)
  fails(server, frame(PING, "", { mask = false }), 1002)
  for rsv = 1, 4 do
    if rsv ~= 3 then fails(server, frame(TEXT, "x", { rsv = rsv }), 1002) end
  end
  for _, opcode in ipairs { 0x3, 0x7, 0xB, 0xF } do fails(server, frame(opcode, "x"), 1002) end
end)

served.test("1002: control frames that are fragmented or long", {}, function(server)
  fails(server, frame(PING, "x", { fin = false }), 1002)
  fails(server, frame(CLOSE, "", { fin = false }), 1002)
  fails(server, frame(PING, ("x"):rep(126)), 1002)
end)

served.test("1002: a length not in its shortest form", {}, function(server)
  fails(server, "\x82\xFE\x00\x05\0\0\0\0hello", 1002)
  fails(server, "\x82\xFF\0\0\0\0\0\0\x01\x00\0\0\0\0", 1002)
  fails(server, "\x82\xFF\x80\0\0\0\0\0\0\0\0\0\0\0", 1002)
end)

served.test("1002: continuations without a start, and starts inside a message", {}, function(server)
  fails(server, frame(CONTINUATION, "x"), 1002)
  fails(server, frame(CONTINUATION, "x", { fin = false }), 1002)
  fails(server, frame(TEXT, "a", { fin = false }) .. frame(TEXT, "b"), 1002)
  fails(server, frame(BINARY, "a", { fin = false }) .. frame(TEXT, "b", { fin = false }), 1002)
end)

served.test("1002: close codes that may not be sent, and half a code", {}, function(server)
  for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535 } do
    fails(server, frame(CLOSE, (">I2"):pack(code)), 1002)
  end
  fails(server, frame(CLOSE, "\x03"), 1002)
end)

served.test("1007: text and reasons that are not UTF-8", {}, function(server)
  fails(server, frame(TEXT, "\xC0\xAF"), 1007)
  fails(server, frame(TEXT, "\xED\xA0\x80"), 1007)
  fails(server, frame(TEXT, "\xF4\x90\x80\x80"), 1007)
  fails(server, frame(TEXT, "ends early \xE2\x82"), 1007)
  fails(server, frame(TEXT, "\xE2\x82", { fin = false }) .. frame(CONTINUATION, "x"), 1007)
  fails(server, frame(CLOSE, "\x03\xE8\xFF"), 1007)
end)

served.test("1007 as soon as the text goes wrong, in the middle of a frame", {}, function(server)
  local client = server:open()
  local bytes = frame(TEXT, "good\xFF" .. ("x"):rep(1000))
  assert(client:send(bytes:sub(1, 8 + 5)))
  assert(client:expect_close() == 1007)
end)

served.test("UTF-8 may be cut anywhere", { "--echo" }, function(server)
  local client = server:open()
  assert(client:send(frame(TEXT, "\xE2", { fin = false }) .. frame(PING, "\xFF")
    .. frame(CONTINUATION, "\x82", { fin = false }) .. frame(CONTINUATION, "\xAC")))
  assert(client:expect(PONG) == "\xFF")
  assert(client:expect(TEXT) == "\xE2\x82\xAC")
end)

served.test("1009 by the announced length, before any of it comes", { "--max-message", "1000" },
  function(server)
    local function head(length) return frame(BINARY, "", { length = length }) end
    fails(server, head(1001), 1009)
    fails(server, head(1 << 40), 1009)
    fails(server, head((1 << 63) - 1), 1009)
  end)

served.test("1009 by the sum of fragments", { "--max-message", "1000", "--echo" }, function(server)
  local part = ("x"):rep(500)
  local start = frame(BINARY, part, { fin = false })
  fails(server, start .. frame(CONTINUATION, part, { fin = false }) .. frame(CONTINUATION, "x"), 1009)
  fails(server, start .. frame(CONTINUATION, "", { length = 501 }), 1009)
  fails(server, frame(BINARY, "", { fin = false }) .. frame(CONTINUATION, "", { length = 1001 }), 1009)
  local client = server:open()
  assert(client:send(start .. frame(PING, part:sub(1, 125)) .. frame(CONTINUATION, part)))
  client:expect(PONG)
  assert(#client:expect(BINARY) == 1000)
end)

served.test("what follows a broken frame is not heard", { "--echo" }, function(server)
  local client, other = server:open(), server:open()
  assert(client:send(frame(0x3, "") .. frame(TEXT, "not to be heard")))
  assert(client:expect_close() == 1002)
  assert(client:send(frame(TEXT, "nor this")))
  assert(other:send_text "mine")
  assert(other:expect(TEXT) == "mine")
end)
