-- permessage-deflate from outside: what is agreed to, what is compressed and for whom, and what is not taken.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT, BINARY = websocket.TEXT, websocket.BINARY
local RSV1 = 4
local HELLO = "\xf2\x48\xcd\xc9\xc9\x07\x00" -- RFC 7692 section 7.2.3.1
local LONG = ("all that goes around comes around, "):rep(20)

-- A client that offers this and what the server agreed to.
local function open(server, offer)
  local client = server:connect()
  assert(client:send(websocket.request("/feed",
    { Host = "test\r\nSec-WebSocket-Extensions: " .. (offer or "permessage-deflate") })))
  local head, status = client:read_head()
  assert(status == 101, head)
  return client, head:match "\r\nSec%-WebSocket%-Extensions: ([^\r]*)\r\n"
end

-- A Python expression over zlib, as bytes.
local function python(expression, stdin)
  local r = t.run({ "python3", "-c", ([[
import sys, zlib
def deflate(data):
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]
def inflate(data):
    return zlib.decompressobj(-15).decompress(data + b'\0\0\xff\xff')
given = bytes.fromhex(sys.stdin.read())
print((%s).hex('\n', 32))]]):format(expression) }, { stdin = stdin or "" })
  assert(r.code == 0, r.stderr)
  return (r.stdout:gsub("%s", ""):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function inflate(bytes) return python("inflate(given)", hex(bytes)) end

served.test("agrees when asked to, to what it can do", { "--deflate" }, function(server)
  local function agreed(offer) return select(2, open(server, offer)) end
  assert(agreed "permessage-deflate":find "^permessage%-deflate")
  assert(agreed "x-webkit-deflate-frame" == nil)
  assert(agreed "permessage-deflate; what" == nil)
  assert(agreed "permessage-deflate; server_max_window_bits=7" == nil)
  assert(agreed "permessage-deflate; client_max_window_bits=16" == nil)
  assert(agreed "permessage-deflate; server_no_context_takeover; server_no_context_takeover" == nil)
  assert(agreed "permessage-deflate; what, permessage-deflate":find "^permessage%-deflate")
  assert(agreed "permessage-deflate; server_no_context_takeover":find "server_no_context_takeover")
  assert(agreed "permessage-deflate; client_no_context_takeover":find "client_no_context_takeover")
  assert(agreed "permessage-deflate; server_max_window_bits=10":find "server_max_window_bits=10")
  assert(not agreed "permessage-deflate":find "client_max_window_bits")
end)

served.test("without takeover it says so, for both sides", { "--deflate" }, function(server)
  local _, agreed = open(server)
  assert(agreed:find "server_no_context_takeover" and agreed:find "client_no_context_takeover", agreed)
end)

served.test("takes the compressed Hello of RFC 7692, whole and cut", { "--deflate", "--echo" },
  function(server)
    local client = open(server)
    local function hello(bytes)
      assert(client:send(bytes))
      assert(client:expect(TEXT) == "Hello")
    end
    hello(frame(TEXT, HELLO, { rsv = RSV1 }))
    hello(frame(TEXT, HELLO, { rsv = RSV1 }))
    hello(frame(TEXT, "Hello"))
    for cut = 0, #HELLO do
      hello(frame(TEXT, HELLO:sub(1, cut), { rsv = RSV1, fin = false })
        .. frame(websocket.CONTINUATION, HELLO:sub(cut + 1)))
    end
    client:round_trip()
  end)

-- RFC 7692 sections 7.2.3.3 to 7.2.3.5, and an empty message (7.2.3.6).
served.test("takes stored, final and several blocks, and nothing", { "--deflate", "--echo" },
  function(server)
    local client = open(server)
    for _, case in ipairs {
      { "\x00\x05\x00\xfa\xffHello\x00", "Hello" },
      { "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello" },
      { "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello" },
      { "\x00", "" },
    } do
      assert(client:send(frame(TEXT, case[1], { rsv = RSV1 })))
      assert(client:expect(TEXT) == case[2])
    end
  end)

local AGAIN = "\xf2\x00\x11\x00\x00" -- section 7.2.3.2: the second Hello, out of the first one's context

served.test("with a client's takeover its second Hello refers to its first",
  { "--deflate", "--deflate-takeover", "client", "--echo" }, function(server)
    local client, agreed = open(server)
    assert(not agreed:find "client_no_context_takeover", agreed)
    for _, bytes in ipairs { HELLO, AGAIN, AGAIN } do
      assert(client:send(frame(TEXT, bytes, { rsv = RSV1 })))
      assert(client:expect(TEXT) == "Hello")
    end
  end)

served.test("without it that second Hello is closed with 1007", { "--deflate" }, function(server)
  local client = open(server)
  assert(client:send(frame(TEXT, HELLO, { rsv = RSV1 }) .. frame(TEXT, AGAIN, { rsv = RSV1 })))
  assert(client:expect_close() == 1007)
end)

served.test("with the server's takeover a repeated message is smaller, and refers to the first",
  { "--deflate", "--deflate-takeover", "server" }, function(server)
    local sender, client = server:open(), open(server)
    local frames = {}
    for i = 1, 2 do
      assert(sender:send_text(LONG))
      frames[i] = assert(client:read_frame())
      assert(frames[i].rsv == RSV1)
    end
    local first, second = frames[1].payload, frames[2].payload
    assert(#second < #first, ("%d after %d"):format(#second, #first))
    assert(inflate(first .. "\0\0\xff\xff" .. second) == LONG .. LONG)
  end)

served.test("a broadcast is compressed for who agreed and plain for another", { "--deflate" },
  function(server)
    local sender, plain, packed, narrow = server:open(), server:open(), open(server),
      open(server, "permessage-deflate; server_max_window_bits=9")
    for _ = 1, 2 do
      assert(sender:send_text(LONG))
      assert(plain:expect(TEXT) == LONG)
      for _, client in ipairs { packed, narrow } do
        local got = assert(client:read_frame())
        assert(got.rsv == RSV1 and got.fin and got.opcode == TEXT and not got.masked, got.rsv)
        assert(#got.payload < #LONG / 2, #got.payload)
        assert(inflate(got.payload) == LONG)
      end
    end
    assert(sender:send_text "short")
    assert(packed:expect(TEXT) == "short")
    assert(plain:expect(TEXT) == "short")
  end)

served.test("RSV1 without an agreement is closed with 1002", { "--deflate" }, function(server)
  local client = server:open()
  assert(client:send(frame(TEXT, HELLO, { rsv = RSV1 })))
  assert(client:expect_close() == 1002)
end)

served.test("RSV1 on a continuation, on a control frame, RSV2: 1002", { "--deflate" }, function(server)
  for _, bytes in ipairs {
    frame(TEXT, HELLO, { rsv = RSV1, fin = false }) .. frame(websocket.CONTINUATION, "", { rsv = RSV1 }),
    frame(websocket.PING, "", { rsv = RSV1 }),
    frame(TEXT, HELLO, { rsv = RSV1 | 2 }),
  } do
    local client = open(server)
    assert(client:send(bytes))
    assert(client:expect_close() == 1002)
  end
end)

served.test("garbage is closed with 1007", { "--deflate" }, function(server)
  local client, text = open(server), open(server)
  assert(client:send(frame(BINARY, ("\xff"):rep(20), { rsv = RSV1 })))
  assert(client:expect_close() == 1007)
  assert(text:send(frame(TEXT, python [[deflate(b'not \xff UTF-8')]], { rsv = RSV1 })))
  assert(text:expect_close() == 1007)
end)

served.test("64 MiB of zeros in 64 KiB are closed with 1009 and never stand in memory",
  { "--deflate", "--max-message", "1MiB" }, function(server)
    local bomb = python "deflate(bytes(64 << 20))"
    assert(#bomb < 100000, #bomb)
    local pid = server:workers()[1] or server.process.pid
    local function peak()
      for line in io.lines(("/proc/%d/status"):format(pid)) do
        local kib = line:match "^VmHWM:%s*(%d+) kB"
        if kib then return tonumber(kib) end
      end
    end
    local first = open(server)
    assert(first:send(frame(BINARY, HELLO, { rsv = RSV1 })))
    first:round_trip()
    local before = peak()
    for _ = 1, 4 do
      local client = open(server)
      assert(client:send(frame(BINARY, bomb, { rsv = RSV1 })))
      assert(client:expect_close() == 1009)
    end
    assert(t.sanitized or peak() - before < 16 * 1024, ("%d KiB more"):format(peak() - before))
  end)

t.test("a value that an option cannot have is refused, and the option is named", function()
  for option, value in pairs { ["deflate-bits"] = "8x", ["deflate-takeover"] = "some",
    ["deflate-min"] = "-1" } do
    local r = t.run { t.wsb, "serve", "--deflate", "--" .. option, value }
    assert(r.code == 64 and r.stderr:find(option, 1, true), r.stderr)
  end
end)
