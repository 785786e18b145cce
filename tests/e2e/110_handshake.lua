-- The opening handshake, in bytes: what is accepted, what is refused and how, and what takes too long.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local function answer(server, request)
  local client = server:connect()
  assert(client:send(request))
  local head, status = client:read_head()
  return status, head, client
end

-- A refusal says why in a short body, then ends the connection; the server does not.
local function refused(server, request, status, ...)
  local got, head, client = answer(server, request)
  assert(got == status, ("%s instead of %d"):format(got, status))
  assert(head:find("Connection: close", 1, true), head)
  for _, header in ipairs { ... } do assert(head:find("\r\n" .. header .. "\r\n", 1, true), head) end
  local body, how = client:read_all()
  assert(#body == tonumber(head:match "Content%-Length: (%d+)"), body)
  assert(how == "end", how)
end

local function upgrade(changes) return websocket.request("/feed", changes) end

served.test("answers 101 with the key of RFC 6455 section 1.3", {}, function(server)
  local status, head = answer(server, upgrade())
  assert(status == 101, head)
  assert(head:find("\r\nSec-WebSocket-Accept: " .. websocket.ACCEPT .. "\r\n", 1, true), head)
  assert(head:find("\r\nUpgrade: websocket\r\n", 1, true), head)
  assert(head:find("\r\nConnection: Upgrade\r\n", 1, true), head)
end)

served.test("takes names and tokens in any case, and lists", {}, function(server)
  local status, head = answer(server, "GET /feed?key=a HTTP/1.1\r\nhOST: x\r\nUPGRADE: other, WebSocket\r\n"
    .. "connection: keep-alive, upgrade\r\nsec-websocket-key: " .. websocket.KEY
    .. "\r\nSEC-WEBSOCKET-VERSION:13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
  assert(status == 101, head)
  assert(not head:find "Extensions", "it agreed to what it does not have")
end)

served.test("takes a head that comes byte by byte", {}, function(server)
  local client = server:connect()
  for byte in upgrade():gmatch "." do assert(client:send(byte)) end
  assert(select(2, client:read_head()) == 101)
  client:round_trip()
end)

served.test("takes a head cut at any offset", {}, function(server)
  local request = upgrade()
  for cut = 1, #request - 1, 7 do
    local client = server:connect()
    assert(client:send(request:sub(1, cut)))
    assert(client:send(request:sub(cut + 1)))
    assert(select(2, client:read_head()) == 101, ("cut at %d"):format(cut))
    client:close()
  end
end)

served.test("takes frames that stand right behind the head", { "--echo" }, function(server)
  local client = server:connect()
  local text = websocket.frame(websocket.TEXT, "early")
  assert(client:send(upgrade() .. text .. text .. text:sub(1, 3)))
  assert(select(2, client:read_head()) == 101)
  assert(client:expect(websocket.TEXT) == "early")
  assert(client:expect(websocket.TEXT) == "early")
  assert(client:send(text:sub(4)))
  assert(client:expect(websocket.TEXT) == "early")
  client:round_trip()
end)

served.test("takes a Close that stands right behind the head", {}, function(server)
  local client = server:connect()
  assert(client:send(upgrade() .. websocket.frame(websocket.CLOSE, "\x03\xE8")))
  assert(select(2, client:read_head()) == 101)
  assert(client:expect_close() == 1000)
  assert(select(2, client:read_all()) == "end")
end)

served.test("400: what is not HTTP, or is too loose", {}, function(server)
  refused(server, "hello\r\n\r\n", 400)
  refused(server, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
  refused(server, "GET  /feed HTTP/1.1\r\n\r\n", 400)
  refused(server, "GET feed HTTP/1.1\r\n\r\n", 400)
  refused(server, (upgrade():gsub("Host: ", "Host : ")), 400)
  refused(server, (upgrade():gsub("Host: ", " Host: ")), 400)
  refused(server, (upgrade():gsub("\r\n", "\n")), 400)
  refused(server, upgrade { ["Host"] = "a\r\nHost: b" }, 400)
  refused(server, upgrade { ["Host"] = "a\0b" }, 400)
end)

served.test("400: an upgrade that lacks something or has a body", {}, function(server)
  refused(server, upgrade { ["Host"] = false }, 400)
  refused(server, upgrade { ["Sec-WebSocket-Key"] = false }, 400)
  refused(server, upgrade { ["Sec-WebSocket-Key"] = "dG9vIHNob3J0" }, 400)
  refused(server, upgrade { ["Sec-WebSocket-Key"] = ("="):rep(24) }, 400)
  refused(server, upgrade { ["Host"] = "a\r\nContent-Length: 5" }, 400)
  refused(server, upgrade { ["Host"] = "a\r\nTransfer-Encoding: chunked" }, 400)
end)

served.test("400: HTTP/1.0", {}, function(server)
  refused(server, (upgrade():gsub("HTTP/1.1", "HTTP/1.0")), 400)
end)

served.test("404: another path than the one that is served", { "--path", "/chat" }, function(server)
  refused(server, upgrade(), 404)
  refused(server, websocket.request "/chat/", 404)
  refused(server, websocket.request "/", 404)
  server:open("/chat"):round_trip()
  server:open("/chat?key=a"):round_trip()
end)

served.test("405: another method than GET", {}, function(server)
  refused(server, (upgrade():gsub("^GET", "POST")), 405, "Allow: GET")
  refused(server, (upgrade():gsub("^GET", "get")), 405, "Allow: GET")
end)

served.test("426: no upgrade, or another version", {}, function(server)
  local version = "Sec-WebSocket-Version: 13"
  refused(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, version)
  refused(server, upgrade { ["Upgrade"] = "h2c" }, 426, version)
  refused(server, upgrade { ["Connection"] = "keep-alive" }, 426, version)
  refused(server, upgrade { ["Sec-WebSocket-Version"] = "8" }, 426, version)
  refused(server, upgrade { ["Sec-WebSocket-Version"] = false }, 426, version)
end)

served.test("431: a head above --max-head, whether or not it ends", { "--max-head", "1KiB" }, function(server)
  local request = upgrade { ["Host"] = "" }
  local function padded(size) return upgrade { ["Host"] = ("h"):rep(size - #request) } end
  assert(answer(server, padded(1024)) == 101)
  refused(server, padded(1025), 431)
  refused(server, "GET /" .. ("x"):rep(1024), 431)
end)

served.test("a silent connection is dropped after --handshake-timeout", { "--handshake-timeout", "300ms" },
  function(server)
    local silent, slow, upgraded = server:connect(), server:connect(), server:open()
    assert(slow:send(upgrade():sub(1, 40)))
    local bytes, how = silent:read_all()
    assert(bytes == "" and how ~= "timeout", how)
    bytes, how = slow:read_all()
    assert(bytes == "" and how ~= "timeout", how)
    upgraded:round_trip()
  end)

served.test("503 with Retry-After above --max-connections, until one leaves", { "--max-connections", "2" },
  function(server)
    local first, second = server:open(), server:open()
    refused(server, upgrade(), 503, "Retry-After: 5")
    assert(first:send_close(1000))
    assert(first:expect_close() == 1000)
    server:open():round_trip()
    second:round_trip()
    refused(server, upgrade(), 503)
  end)

t.test("a client that leaves in the middle of its handshake harms nobody", function()
  local server = served.start()
  for cut = 0, 60, 20 do
    local leaves, resets = server:connect(), server:connect()
    assert(leaves:send(upgrade():sub(1, cut)))
    assert(resets:send(upgrade():sub(1, cut)))
    leaves:close()
    resets:reset()
  end
  server:open():round_trip()
  server:leave()
end)

t.test("out of descriptors it waits, and goes on when there are some again", function()
  local server = served.run { "sh", "-c", 'ulimit -n 40 && exec "$0" serve', t.wsb }
  local waiting = {}
  for i = 1, 50 do waiting[i] = server:connect() end
  local late = server:connect()
  assert(late:send(upgrade()))
  for i = 1, 50 do waiting[i]:close() end
  assert(select(2, late:read_head()) == 101)
  late:round_trip()
  server:leave()
end)
