-- What a server lets in and how much of it, seen from outside: one test an option.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT, BINARY, CONTINUATION = websocket.TEXT, websocket.BINARY, websocket.CONTINUATION

-- An upgrade with header lines of its own.
local function request(target, ...)
  return websocket.request(target or "/feed", { Host = table.concat({ "test", ... }, "\r\n") })
end

local function answer(server, bytes, options)
  local client = server:connect(options)
  assert(client:send(bytes))
  local head, status = client:read_head()
  return status, head, client
end

local function answers(server, status, bytes)
  local got, head, client = answer(server, bytes)
  assert(got == status, ("%s instead of %d to %s"):format(got, status, bytes))
  if status == 101 then client:round_trip() else assert(select(2, client:read_all()) == "end") end
  client:close()
  return head
end

local function from(server, origin, status)
  answers(server, status, request(nil, "Origin: " .. origin))
end

local function closed(client, code)
  local got, reason = client:expect_close()
  assert(got == code, ("%d %s instead of %d"):format(got, reason, code))
end

served.test("--origins: scheme, host and port all have to match",
  { "--origins", "https://a.example, http://b.example:8080" }, function(server)
    from(server, "https://a.example", 101)
    from(server, "HTTPS://A.example", 101)
    from(server, "https://a.example:443", 101)
    from(server, "http://b.example:8080", 101)
    from(server, "http://a.example", 403)
    from(server, "https://a.example:8443", 403)
    from(server, "http://b.example", 403)
    from(server, "https://b.example:8080", 403)
    from(server, "https://a.example.evil", 403)
    from(server, "https://evil.a.example", 403)
    from(server, "https://a.example, https://a.example", 403)
    from(server, "null", 403)
    answers(server, 403, request())
  end)

served.test("--origins: the default port is 80 for http, 443 for https, written or not",
  { "--origins", "http://a.example:80,https://b.example:443" }, function(server)
    from(server, "http://a.example", 101)
    from(server, "http://a.example:80", 101)
    from(server, "https://b.example", 101)
    from(server, "http://a.example:443", 403)
    from(server, "https://b.example:80", 403)
    from(server, "https://a.example", 403)
  end)

served.test("--origins: null and absent are names of their own", { "--origins", "null,absent" },
  function(server)
    from(server, "null", 101)
    answers(server, 101, request())
    from(server, "https://a.example", 403)
  end)

served.test("--origins: absent alone does not let null in", { "--origins", "absent" }, function(server)
  answers(server, 101, request())
  from(server, "null", 403)
end)

served.test("--max-fragments: one more frame is closed with 1008", { "--max-fragments", "4", "--echo" },
  function(server)
    local function pieces(count)
      local client = server:open()
      assert(client:send(frame(TEXT, "a", { fin = false })
        .. frame(CONTINUATION, "a", { fin = false }):rep(count - 2) .. frame(CONTINUATION, "a")))
      return client
    end
    local client = pieces(4)
    assert(client:expect(TEXT) == "aaaa")
    client:round_trip()
    closed(pieces(5), 1008)
  end)

served.test("--max-headers: one more line is answered 431", { "--max-headers", "10" }, function(server)
  local function lines(count) -- an upgrade has five
    local more = {}
    for i = 6, count do more[#more + 1] = ("X-%d: a"):format(i) end
    return request(nil, table.unpack(more))
  end
  answers(server, 101, lines(10))
  answers(server, 431, lines(11))
end)

served.test("--max-per-address: 429 until one leaves, another address is let in",
  { "--max-per-address", "2" }, function(server)
    local first, second = server:open(), server:open()
    local head = answers(server, 429, request())
    assert(head:find "\r\nRetry%-After: %d+\r\n", head)
    server:open("/feed", { source = "127.0.0.2" }):round_trip()
    assert(first:send_close(1000))
    closed(first, 1000)
    assert(select(2, first:read_all()) == "end")
    server:open():round_trip()
    answers(server, 429, request())
    second:round_trip()
  end)

served.test("--max-handshakes: the oldest visitor gives way", { "--max-handshakes", "2" }, function(server)
  local member = server:open()
  local oldest, newer = server:connect(), server:connect()
  assert(oldest:send(request():sub(1, 20)))
  local newest = server:connect()
  local bytes, how = oldest:read_all()
  assert(bytes == "" and how ~= "timeout", how)
  for _, client in ipairs { newer, newest } do
    assert(client:send(request()))
    assert(select(2, client:read_head()) == 101)
    client:round_trip()
  end
  member:round_trip()
end)

served.test("--message-rate: faster is closed with 1008", { "--message-rate", "10/s", "--echo" },
  function(server)
    local client, fast = server:open(), server:open()
    assert(client:send(frame(TEXT, "a"):rep(10)))
    for _ = 1, 10 do assert(client:expect(TEXT) == "a") end
    local echoed = 0
    assert(fast:send(frame(TEXT, "a"):rep(100)))
    local code = fast:expect_close(function(f) echoed = echoed + (f.opcode == TEXT and 1 or 0) end)
    assert(code == 1008, code)
    assert(echoed >= 10 and echoed < 100, echoed)
  end)

served.test("--byte-rate: faster is closed with 1008", { "--byte-rate", "10KiB/s" }, function(server)
  local client, fast = server:open(), server:open()
  assert(client:send(frame(BINARY, ("a"):rep(8000))))
  client:round_trip()
  assert(fast:send(frame(BINARY, ("a"):rep(8000)):rep(4)))
  closed(fast, 1008)
end)

served.test("--subscribe-token: 401 without, 101 by header or by query", { "--subscribe-token", "s3cret" },
  function(server)
    local head = answers(server, 401, request())
    assert(head:find("\r\nWWW-Authenticate: Bearer\r\n", 1, true), head)
    answers(server, 401, request(nil, "Authorization: Bearer s3cre"))
    answers(server, 401, request(nil, "Authorization: Bearer s3crets"))
    answers(server, 401, request(nil, "Authorization: Basic s3cret"))
    answers(server, 401, request "/feed?token=")
    answers(server, 401, request "/feed?token=S3cret")
    answers(server, 401, request "/feed?atoken=s3cret")
    answers(server, 101, request(nil, "Authorization: Bearer s3cret"))
    answers(server, 101, request(nil, "authorization: bearer s3cret"))
    answers(server, 101, request "/feed?token=s3cret")
    answers(server, 101, request "/feed?key=a&token=s3cret")
  end)

served.test("--publish-token: without it a client may only listen", { "--publish-token", "s3cret" },
  function(server)
    local listener, mute, publisher = server:open(), server:open(), server:open "/feed?token=s3cret"
    mute:round_trip()
    assert(mute:send_text "no")
    closed(mute, 1008)
    assert(publisher:send_text "yes")
    assert(listener:expect(TEXT) == "yes")
    listener:round_trip()
  end)

served.test("--publish-token: a publisher may come in where subscribers need another token",
  { "--publish-token", "p", "--subscribe-token", "s" }, function(server)
    local listener, publisher = server:open "/feed?token=s", server:open "/feed?token=p"
    answers(server, 401, request())
    assert(publisher:send_text "yes")
    assert(listener:expect(TEXT) == "yes")
    assert(listener:send_text "no")
    closed(listener, 1008)
  end)

served.test("--message-timeout: half a header, half a body, half a message are closed with 3008",
  { "--message-timeout", "300ms" }, function(server)
    local quiet, header, body, message = server:open(), server:open(), server:open(), server:open()
    assert(header:send(frame(TEXT, "slow"):sub(1, 1)))
    assert(body:send(frame(TEXT, "slow"):sub(1, 8)))
    assert(message:send(frame(TEXT, "slow", { fin = false })))
    closed(header, 3008)
    closed(body, 3008)
    closed(message, 3008)
    quiet:round_trip()
  end)

served.test("--message-timeout: a byte now and then does not help", { "--message-timeout", "300ms" },
  function(server)
    local client = server:open()
    assert(client:send(frame(BINARY, ("x"):rep(1000)):sub(1, 8)))
    local sent = 0
    t.wait_until(function()
      if sent < 900 then client:send "x" end
      sent = sent + 1
      return client:read(2, 0.01)
    end, 10, "a Close frame")
    assert(sent < 900)
    assert((">I2"):unpack(client:read(2)) == 3008)
  end)

served.test("--idle-timeout: no message is closed with 3008, pings or not", { "--idle-timeout", "500ms" },
  function(server)
    local idle, pinging = server:open(), server:open()
    pinging:round_trip()
    closed(idle, 3008)
    closed(pinging, 3008)
  end)

served.test("--idle-timeout: one that sends messages stays", { "--idle-timeout", "500ms", "--echo" },
  function(server)
    local idle, busy, over = server:open "/idle", server:open "/busy", nil
    idle.tcp:read_start(function(_, data) over = over or data or "end" end)
    t.wait_until(function() -- longer than an idle one is kept
      assert(busy:send_text "here")
      assert(busy:expect(TEXT) == "here")
      return over
    end, 10, "the idle one's Close")
    assert(over:byte() == 0x88, over)
    busy:round_trip()
  end)

served.test("--subprotocols: the server agrees to one that both have, else to none",
  { "--subprotocols", "b.v2,b.v1" }, function(server)
    local function agreed(...)
      return answers(server, 101, request(nil, ...)):match "\r\nSec%-WebSocket%-Protocol: ([^\r]*)\r\n"
    end
    assert(agreed "Sec-WebSocket-Protocol: b.v1" == "b.v1")
    assert(agreed "Sec-WebSocket-Protocol: a, b.v2, c" == "b.v2")
    assert(agreed("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b.v1") == "b.v1")
    assert(agreed "Sec-WebSocket-Protocol: B.V1" == nil)
    assert(agreed "Sec-WebSocket-Protocol: a" == nil)
    assert(agreed() == nil)
  end)

t.test("a value that an option cannot have is refused, and the option is named", function()
  local function refuses(option, value)
    local r = t.run { t.wsb, "serve", "--" .. option, value }
    local named = r.stderr:find(option, 1, true) or r.stderr:find((option:gsub("-", "_")), 1, true)
    assert(r.code == 64 and named, ("%s %s: %d %s"):format(option, value, r.code, r.stderr))
  end
  for _, origins in ipairs { "a.example", "*", "https://*.example", "https://a.example/path", "https://" } do
    refuses("origins", origins)
  end
  refuses("max-fragments", "-1")
  refuses("max-headers", "0")
  refuses("max-per-address", "-1")
  refuses("max-handshakes", "0")
  refuses("message-rate", "fast")
  refuses("byte-rate", "10XB/s")
  refuses("message-timeout", "0")
  refuses("idle-timeout", "soon")
  refuses("subprotocols", "a b")
  refuses("subprotocols", "a,a")
end)
