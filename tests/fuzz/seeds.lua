-- Valid inputs for the fuzz targets to start from: lua5.4 tests/fuzz/seeds.lua CORPUS_DIR TARGET

local directory, target = arg[1], arg[2]
local pack = string.pack

local REQUEST = "GET /chat?token=secret HTTP/1.1\r\nHost: a.example:80\r\nUpgrade: websocket\r\n"
  .. "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
  .. "Sec-WebSocket-Version: 13\r\nOrigin: https://a.example\r\nSec-WebSocket-Protocol: chat, other\r\n"
  .. "Authorization: Bearer secret\r\n\r\n"
local RESPONSE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
  .. "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
local HELLO = "\xf2\x48\xcd\xc9\xc9\x07\x00" -- "Hello", RFC 7692 section 7.2.3.1

-- A frame; mask: nil or four zero bytes, so that the payload stays readable.
local function frame(first, payload, mask)
  local bit, size = mask and 0x80 or 0, #payload
  local length = size < 126 and pack("B", bit | size) or pack(">BI2", bit | 126, size)
  return string.char(first) .. length .. (mask or "") .. payload
end

local function frames(mask)
  return frame(0x81, "h\u{e9}llo", mask) .. frame(0x02, ("x"):rep(200), mask) .. frame(0x89, "ping", mask)
    .. frame(0x80, "end", mask) .. frame(0x88, pack(">I2", 1000) .. "bye", mask)
end

local ZERO = "\0\0\0\0"
local seeds = {
  http1 = { "\0\6" .. REQUEST, "\1\6" .. RESPONSE, "\2\1" .. REQUEST, "\4\0" .. REQUEST },
  message = {
    "\1\3" .. frames(ZERO), "\0\33" .. frames(), "\17\3" .. frames("abcd"),
    "\3\3" .. frame(0xC1, HELLO, ZERO) .. frame(0xC1, HELLO, ZERO),
    "\6\3" .. frame(0xC1, HELLO) .. frame(0xC1, "\xf2\0\x11\0\0") .. frame(0x42, HELLO:sub(1, 3))
      .. frame(0x80, HELLO:sub(4)),
  },
  deflate = {
    "\0\15" .. HELLO .. HELLO, "\1\0" .. ("hello "):rep(100), "\1\128" .. ("hello "):rep(100),
    "\2\1permessage-deflate; client_max_window_bits; server_max_window_bits=10",
    "\2\7permessage-deflate; server_no_context_takeover; client_no_context_takeover, other; a=\"b\"",
    "\3\9", "\3\15ab",
  },
  upgrade = {
    "\0" .. REQUEST, "\1" .. RESPONSE, "\2" .. RESPONSE,
    "\3https://a.example, http://[::1]:8080, null, absent\0HTTPS://A.example:443",
    "\4secret\0a=b&token=%73ecret",
  },
  close = { "", "\3\xe8bye", "\x0f\xa0\u{20ac}" },
  url = { "ws://a.example", "wss://a.example:9443/path?query=1", "ws://[::1]:80/", "ws://127.0.0.1:8080/?a" },
  replay_id = {
    "1f2e3d4c:17", "1f2e3d4c:17\nhello", "-\nhello", [[{"wsb":"ack","n":1,"id":"1f2e3d4c:18"}]],
    [[{"wsb":"nack","n":2}]], [[{"wsb":"recovered","recovered":true,"epoch":"1f2e3d4c","offset":17}]],
  },
}

for i, seed in ipairs(assert(seeds[target], target)) do
  local file = assert(io.open(("%s/seed-%d"):format(directory, i), "wb"))
  file:write(seed)
  file:close()
end
