-- Every guard of a WebSocket server, tried from outside, while a few clients go on receiving.

local ask = require "wsb.guards.ask"
local tls = require "wsb.guards.tls"
local wsb = require "wsb"

local op = wsb.opcode
local after, answer, credentials, deadline, gone, join, kept, limit, needs, needs_connections, noted, with =
  ask.after, ask.answer, ask.credentials, ask.deadline, ask.gone, ask.join, ask.kept, ask.limit, ask.needs,
  ask.needs_connections, ask.noted, ask.with

local FORBIDDEN, OTHER_NAME = "https://evil.example", "other.example"
local BYSTANDERS = 5

local relays = false -- what one client sends reaches the others

local function close_of(client, timeout)
  local code, why = client:expect_close(timeout)
  return code and ("Close %d"):format(code) or kept(why)
end

-- What came of frames; `make` returns their bytes.
local function frames(make, changes)
  return function(ctx)
    local client, why = join(ctx, changes)
    if not client then return why end
    client:send(make(ctx))
    return close_of(client)
  end
end

-- The status of an answer to an upgrade with these changes.
local function upgrade(changes)
  return function(ctx)
    local change = type(changes) == "function" and changes(ctx) or changes
    return answer(ctx:dial():request(credentials(ctx, change)))
  end
end

local function bytes(make)
  return function(ctx)
    local client = ctx:dial()
    client:send(make(ctx, client))
    return answer(client:read_head())
  end
end

local function frame(opcode, payload, how)
  return function() return wsb.frame(opcode, payload, how) end
end

-- permessage-deflate of `size` times the same letter, made by hand: 13 bits for 258 of them.
local function deflated(size)
  local bits = {}
  local function put(value, count)
    for i = count - 1, 0, -1 do
      bits[#bits + 1] = value >> i & 1
    end
  end
  put(2, 3) -- not the last block, fixed codes: 0, then 01 from its low bit
  put(0x30 + ("a"):byte(), 8)
  for _ = 1, (size + 256) // 258 do
    put(0xC5, 8) -- 258 bytes ...
    put(0, 5) -- ... from one byte back
  end
  put(0, 7 + 3) -- end of the block; the empty one that a message ends with
  local out = {}
  for i = 1, #bits, 8 do
    local byte = 0
    for j = 0, 7 do
      byte = byte | (bits[i + j] or 0) << j
    end
    out[#out + 1] = string.char(byte)
  end
  return table.concat(out)
end

local DEFLATE = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" }

local function join_deflate(ctx)
  local client, head = join(ctx, DEFLATE)
  if not client then return nil, head end
  if not head:lower():find "permessage%-deflate" then return nil, "permessage-deflate was not agreed to" end
  return client
end

local function no_deflate(ctx)
  local why = needs "max_message"(ctx)
  if why or ctx.server then return why end
  local client, reason = join_deflate(ctx)
  ctx:hang_up()
  return not client and reason or nil
end

local function inflated(ctx)
  local client, why = join_deflate(ctx)
  if not client then return why end
  client:send_frame(op.BINARY, deflated(limit(ctx, "max_message") + 1), { rsv = 4 })
  return close_of(client)
end

local function sum_of_fragments(ctx)
  local half = ("x"):rep(limit(ctx, "max_message") // 2 + 1)
  return wsb.frame(op.BINARY, half, { fin = false }) .. wsb.frame(op.CONTINUATION, half)
end

local function at_the_limit(ctx)
  local client, why = join(ctx)
  if not client then return why end
  client:send_frame(op.BINARY, ("x"):rep(limit(ctx, "max_message")))
  client:send_frame(op.PING, "after it")
  local pong, trouble = client:expect(op.PONG)
  return pong and "Pong" or trouble
end

local function many_fragments(ctx)
  local part = wsb.frame(op.CONTINUATION, "x", { fin = false })
  return wsb.frame(op.TEXT, "x", { fin = false }) .. part:rep(limit(ctx, "max_fragments"))
end

local function many_headers(ctx)
  local changes = {}
  for i = 1, limit(ctx, "max_headers") do
    changes["X-" .. i] = "x"
  end
  return changes
end

-- One connection more than there may be; what the last was told.
local function crowd(name)
  return function(ctx)
    return with(ctx, { [name] = limit(ctx, name) }, function()
      local status, why
      for _ = 1, limit(ctx, name) + 1 do
        status, why = ctx:dial():request(credentials(ctx))
        if status ~= 101 then break end
      end
      return status and tostring(status) or gone(why)
    end)
  end
end

local function crowd_of_silent(ctx)
  local most = limit(ctx, "max_handshakes")
  return with(ctx, { max_handshakes = most }, function()
    local oldest = ctx:dial()
    for _ = 1, most do
      ctx:dial()
    end
    local how = gone(oldest:expect_end(ask.GRACE_S))
    return how == "timeout" and "all are kept" or "the oldest is " .. how
  end)
end

local function too_fast(name, make)
  return function(ctx)
    return with(ctx, { [name] = limit(ctx, name) }, function() return frames(make)(ctx) end)
  end
end

local function many_messages(ctx)
  return wsb.frame(op.TEXT, "x"):rep(math.ceil(limit(ctx, "message_rate") * 4))
end

local function many_bytes(ctx)
  local size = math.min(limit(ctx, "max_message") or 65536, 32768)
  return wsb.frame(op.BINARY, ("x"):rep(size)):rep(math.ceil(limit(ctx, "byte_rate") * 4 / size))
end

local function say_nothing(ctx, patience)
  return kept(ctx:dial():expect_end(patience))
end

-- A byte now and then, so that no read is long in coming.
local function say_it_slowly(ctx, patience)
  local client, how = ctx:dial(), "timeout"
  local head = client:upgrade(credentials(ctx)):sub(1, -2)
  for i = 1, math.ceil(patience / 0.1) do
    client:send(head:sub(i, i))
    how = client:expect_end(0.1)
    if how ~= "timeout" then break end
  end
  return kept(how)
end

local function then_wait(make, read)
  return function(ctx, patience)
    local client, why = join(ctx)
    if not client then return why end
    if make then client:send(make()) end
    return read(client, patience)
  end
end

local function until_close(client, patience)
  return close_of(client, patience)
end

local function until_end(client, patience)
  return kept(client:expect_end(patience))
end

local function with_token(changes, path)
  return function(ctx)
    return with(ctx, { subscribe_token = limit(ctx, "token") }, function()
      local client = ctx:dial()
      local query = path and client.path .. "?token=" .. limit(ctx, "token")
      local headers = credentials(ctx, type(changes) == "function" and changes(ctx) or changes)
      return answer(client:request(headers, query))
    end)
  end
end

local function bearer(ctx)
  return { Authorization = "Bearer " .. limit(ctx, "token") }
end

local function publishing(token)
  return function(ctx)
    return with(ctx, { publish_token = limit(ctx, "publish_token") }, function()
      local shown = token and { Authorization = "Bearer " .. limit(ctx, "publish_token") } or nil
      local client, why = join(ctx, shown)
      if not client then return why end
      client:send_frame(op.TEXT, "may I?")
      client:send_frame(op.PING, "after it")
      local pong, trouble = client:expect(op.PONG)
      if not pong then return gone(trouble) end
      local code = not token and client:expect_close(0.5)
      return code and ("Close %d"):format(code) or "Pong"
    end)
  end
end

local function protocol_of(offered)
  return function(ctx)
    local offer = offered and offered .. ", " .. limit(ctx, "subprotocol") or "guards.unknown"
    local client, head = join(ctx, { ["Sec-WebSocket-Protocol"] = offer })
    if not client then return head end
    return "101 " .. (head:match "\n[Ss]ec%-[Ww]eb[Ss]ocket%-[Pp]rotocol: *([^\r]*)" or "without one")
  end
end

local function ping(ctx)
  local client, why = join(ctx)
  if not client then return why end
  client:send_frame(op.PING, "are you there?")
  local payload, trouble = client:expect(op.PONG)
  if not payload then return gone(trouble) end
  return payload == "are you there?" and "Pong with its text" or "Pong with another text"
end

local function good_bye(ctx)
  local client, why = join(ctx)
  if not client then return why end
  client:send_frame(op.CLOSE, (">I2"):pack(1000))
  local came = close_of(client)
  return came == "Close 1000" and came .. ", then " .. client:expect_end() or came
end

local function everything_arrives(ctx)
  local publisher, cohort = ctx.publishers[1], ctx.cohorts[1]
  publisher:stop()
  local wanted = publisher:counts().publish_sent * BYSTANDERS
  local function got()
    local counts = cohort:counts()
    return counts.messages_received - counts.messages_duplicate - counts.messages_corrupt
  end
  ctx:wait(function() return got() >= wanted end, "3s")
  if wanted > 0 and got() == wanted then return "100 %" end
  return ("%d of %d messages"):format(got(), wanted)
end

local function all_stay(ctx)
  return ("%d connected"):format(ctx.cohorts[1]:counts().clients_open)
end

local function not_relayed()
  if not relays then return "what a client sends does not reach the others" end
end

-- Strict about what wsb answers; others may choose where the RFCs let them.
local function on_ours(own, others)
  return function(ctx) return ctx.server and own or others end
end

local LATE = on_ours("Close 3008", { "Close 3008", "Close 1008", "Close 1001", "Close 1002", "dropped" })
local FULL = on_ours("503", { "503", "429", "dropped" })
local CROWDED = on_ours("429", { "429", "503", "403", "dropped" })

local OLD = on_ours("alert: protocol version", { "alert", "dropped" })

local CHECKS = {
  { name = "Origin: another site's", sent = "Origin: " .. FORBIDDEN, expected = "403",
    unless = needs "origin", run = noted("Origin: another site's", upgrade { Origin = FORBIDDEN }) },
  { name = "Origin: its own", sent = "the authorized Origin", expected = "101",
    unless = after("Origin: another site's", "origin"),
    run = upgrade(function(ctx) return { Origin = limit(ctx, "origin") } end) },
  { name = "message: one frame", sent = "a header that says max-message + 1",
    expected = "Close 1009", unless = needs "max_message",
    run = frames(function(ctx)
      return wsb.frame(op.BINARY, "", { length = limit(ctx, "max_message") + 1 })
    end) },
  { name = "message: fragments", sent = "two halves that are too much together", expected = "Close 1009",
    unless = needs "max_message", run = frames(sum_of_fragments) },
  { name = "message: inflated", sent = "what inflates to max-message + 1",
    expected = "Close 1009", unless = no_deflate, run = inflated },
  { name = "message: at the limit", sent = "max-message bytes, a ping", expected = "Pong",
    unless = needs "max_message", run = at_the_limit },
  { name = "fragments", sent = "max-fragments + 1 of one message", expected = "Close 1008",
    unless = needs "max_fragments", run = frames(many_fragments) },
  { name = "message rate", sent = "four seconds' worth at once", expected = "Close 1008",
    unless = needs "message_rate", run = too_fast("message_rate", many_messages) },
  { name = "byte rate", sent = "four seconds' worth at once", expected = "Close 1008",
    unless = needs "byte_rate", run = too_fast("byte_rate", many_bytes) },

  { name = "head: lines", sent = "max-headers more than an upgrade has", expected = "431",
    unless = needs "max_headers", run = upgrade(many_headers) },
  { name = "head: size", sent = "a header of max-head bytes", expected = "431", unless = needs "max_head",
    run = upgrade(function(ctx) return { ["X-Long"] = ("x"):rep(limit(ctx, "max_head")) } end) },
  { name = "head: bare LF", sent = "an upgrade with LF for CRLF", expected = "400",
    run = bytes(function(ctx, client) return (client:upgrade(credentials(ctx)):gsub("\r", "")) end) },
  { name = "head: smuggling", sent = "Content-Length and Transfer-Encoding", expected = "400",
    run = upgrade { ["Content-Length"] = "5", ["Transfer-Encoding"] = "chunked" } },
  { name = "head: two hosts", sent = "Host twice", expected = "400", run = bytes(function(ctx, client)
    return (client:upgrade(credentials(ctx)):gsub("\r\n", "\r\nHost: other.example\r\n", 1))
  end) },
  { name = "method", sent = "POST", expected = on_ours("405", { "405", "400", "404" }),
    run = upgrade { method = "POST" } },
  { name = "not an upgrade", sent = "a plain GET", expected = on_ours("426", { "426", "400", "404", "200" }),
    run = upgrade { Upgrade = false, Connection = false, ["Sec-WebSocket-Key"] = false,
      ["Sec-WebSocket-Version"] = false } },
  { name = "version", sent = "Sec-WebSocket-Version: 12", expected = on_ours("426", { "426", "400" }),
    run = upgrade { ["Sec-WebSocket-Version"] = "12" } },
  { name = "key", sent = "a Sec-WebSocket-Key of 4 bytes", expected = "400",
    run = upgrade { ["Sec-WebSocket-Key"] = "AAAAAA==" } },
  { name = "subprotocol: known", sent = "an unknown one and a known one",
    expected = function(ctx) return "101 " .. (limit(ctx, "subprotocol") or "with the known one") end,
    unless = needs "subprotocol", run = protocol_of "guards.unknown" },
  { name = "subprotocol: unknown", sent = "an unknown one",
    expected = on_ours("101 without one", { "101 without one", "no upgrade: 400" }),
    unless = needs "subprotocol", run = protocol_of() },

  { name = "frame: unmasked", sent = "a text without a mask", expected = "Close 1002",
    run = frames(frame(op.TEXT, "x", { mask = false })) },
  { name = "frame: opcode", sent = "opcode 3", expected = "Close 1002", run = frames(frame(3, "x")) },
  { name = "frame: RSV1", sent = "RSV1 without an extension", expected = "Close 1002",
    run = frames(frame(op.TEXT, "x", { rsv = 4 })) },
  { name = "frame: continuation", sent = "one without a start", expected = "Close 1002",
    run = frames(frame(op.CONTINUATION, "x")) },
  { name = "frame: interleaved", sent = "a start inside a message", expected = "Close 1002",
    run = frames(function() return wsb.frame(op.TEXT, "x", { fin = false }) .. wsb.frame(op.TEXT, "x") end) },
  { name = "ping: size", sent = "126 bytes", expected = "Close 1002",
    run = frames(frame(op.PING, ("x"):rep(126))) },
  { name = "ping: fragment", sent = "without FIN", expected = "Close 1002",
    run = frames(frame(op.PING, "x", { fin = false })) },
  { name = "text: UTF-8", sent = "C3 28", expected = "Close 1007", run = frames(frame(op.TEXT, "\xC3\x28")) },
  { name = "close: code", sent = "Close 1005", expected = "Close 1002",
    run = frames(frame(op.CLOSE, (">I2"):pack(1005))) },
  { name = "close: size", sent = "a Close of one byte", expected = "Close 1002",
    run = frames(frame(op.CLOSE, "x")) },
  { name = "ping", sent = "a ping", expected = "Pong with its text", run = ping },
  { name = "close", sent = "Close 1000", expected = "Close 1000, then end",
    run = good_bye },

  { name = "TLS: silence", sent = "nothing", expected = "dropped", unless = tls.over_tls(needs "tls_timeout"),
    run = deadline("tls_timeout", tls.wait_without_tls()) },
  { name = "TLS: half a hello", sent = "half a ClientHello", expected = "dropped",
    unless = tls.over_tls(needs "tls_timeout"),
    run = deadline("tls_timeout", tls.wait_without_tls(tls.hello(2, 0.5))) },
  { name = "TLS: plain HTTP", sent = "an upgrade without TLS", unless = tls.over_tls(),
    expected = on_ours("dropped", { "dropped", "400", "alert" }),
    run = tls.without_tls(function(ctx, client) return client:upgrade(credentials(ctx)) end) },
  { name = "TLS 1.0", sent = "a ClientHello of it", expected = OLD, unless = tls.over_tls(),
    run = tls.without_tls(tls.hello(0)) },
  { name = "TLS 1.1", sent = "a ClientHello of it", expected = OLD, unless = tls.over_tls(),
    run = tls.without_tls(tls.hello(1)) },
  { name = "TLS 1.2", sent = "a ClientHello of it", unless = tls.over_tls(),
    expected = on_ours("TLS 1.2", { "TLS 1.2", "alert" }), run = tls.without_tls(tls.hello(2)) },
  { name = "TLS 1.3", sent = "an upgrade over it", expected = "101", unless = tls.over_tls(),
    run = tls.upgrade_with { min = "1.3" } },
  { name = "TLS: resumption", sent = "a second connection, with the ticket of the first",
    expected = "resumed", unless = tls.over_tls(tls.no_ticket), run = tls.resumed },
  { name = "certificate: trusted", sent = "a client that trusts it", expected = "101",
    unless = tls.over_tls(tls.not_verified), run = tls.upgrade_with() },
  { name = "certificate: not trusted", sent = "a client that trusts the system's only",
    expected = "refused: not trusted", unless = tls.over_tls(tls.trusted_by_all),
    run = tls.upgrade_with { ca = "" } },
  { name = "certificate: name", sent = "a client that wants " .. OTHER_NAME,
    expected = "refused: its name",
    unless = tls.over_tls(tls.not_verified), run = tls.upgrade_with { name = OTHER_NAME } },
  { name = "certificate: read again", sent = "reload with another, while the clients are there",
    expected = ("new, %d connected"):format(BYSTANDERS),
    unless = tls.over_tls(function(ctx)
      return ctx.target and "only wsb's own can be told" or tls.not_verified(ctx)
    end),
    run = tls.read_again },

  { name = "token: none", sent = "an upgrade without it", expected = on_ours("401", { "401", "403" }),
    unless = needs "token", run = with_token { Authorization = false } },
  { name = "token: wrong", sent = "another one", expected = on_ours("401", { "401", "403" }),
    unless = needs "token", run = noted("token: wrong", with_token { Authorization = "Bearer wrong" }) },
  { name = "token: right", sent = "Authorization: Bearer", expected = "101",
    unless = after("token: wrong", "token"), run = with_token(bearer) },
  { name = "token: in the query", sent = "?token=", expected = "101",
    unless = function(ctx)
      if ctx.target then return "wsb's own way" end
      return after("token: wrong", "token")(ctx)
    end,
    run = with_token({ Authorization = false }, true) },
  { name = "publish: no token", sent = "a message", expected = "Close 1008", unless = needs "publish_token",
    run = noted("publish: no token", publishing(false)) },
  { name = "publish: token", sent = "a message, a ping", expected = "Pong",
    unless = after("publish: no token", "publish_token"), run = publishing(true) },

  { name = "connections of one address", sent = "one more than max-per-address", expected = CROWDED,
    unless = needs_connections "max_per_address", run = crowd "max_per_address" },
  { name = "connections of all", sent = "one more than max-connections", expected = FULL,
    unless = needs_connections "max_connections", run = crowd "max_connections" },
  { name = "connections on their way in", sent = "one silent one more than max-handshakes",
    expected = "the oldest is dropped", unless = needs_connections "max_handshakes", run = crowd_of_silent },
  { name = "deadline: silence", sent = "nothing", expected = "dropped", unless = needs "handshake_timeout",
    run = deadline("handshake_timeout", say_nothing) },
  { name = "deadline: slow head", sent = "an upgrade, a byte every 100 ms", expected = "dropped",
    unless = needs "handshake_timeout", run = deadline("handshake_timeout", say_it_slowly) },
  { name = "deadline: slow message", sent = "half a frame", expected = LATE, unless = needs "message_timeout",
    run = deadline("message_timeout", then_wait(frame(op.TEXT, "x", { length = 2 }), until_close)) },
  { name = "deadline: no pong", sent = "no answer to its pings", expected = "dropped",
    unless = needs "ping_timeout",
    run = deadline("ping_timeout", then_wait(nil, until_end), { ping_interval = "100ms" }) },

  { name = "the others stay", sent = ("%d clients, there all the time"):format(BYSTANDERS),
    expected = ("%d connected"):format(BYSTANDERS), run = all_stay },
  { name = "the others receive", sent = "50 messages a second, all the time", expected = "100 %",
    unless = not_relayed, run = everything_arrives },
  -- Last, since the others say nothing either.
  { name = "deadline: idle", sent = "an upgrade, then nothing", expected = LATE,
    unless = needs "idle_timeout", run = deadline("idle_timeout", then_wait(nil, until_close)) },
}

local function check_target(opt)
  local host = wsb.parse_url(opt.target)
  if not host then
    wsb.usage("--target: '%s' is not accepted: give ws:// or wss://HOST:PORT/PATH", opt.target)
  end
  local is_near = host == "localhost" or host == "::1" or host:find "^127%.%d+%.%d+%.%d+$"
  if not is_near and host ~= opt.allow_remote then
    wsb.usage("--target: '%s' is not this machine: name it with --allow-remote %s, if it is yours to test",
      host, host)
  end
end

-- Whether a message of one client reaches another.
local function does_relay(ctx)
  local listener, why = join(ctx)
  if not listener then
    wsb.unavailable("--target: %s: %s: check address and path, or give --origin, --token or --tls-ca",
      ctx.target, why)
  end
  local speaker = join(ctx)
  if not speaker then return false end
  speaker:send_frame(op.TEXT, "guards")
  local heard = listener:expect(op.TEXT, 1)
  ctx:hang_up()
  return heard == "guards"
end

local function check_texts(opt)
  for _, name in ipairs { "origin", "token", "publish_token", "subprotocol" } do
    if opt[name]:find "%c" then
      wsb.usage("--%s: control characters are not accepted: give what a header can hold",
        (name:gsub("_", "-")))
    end
  end
end

-- "absent": what is no browser sends no Origin.
local function serve(ctx)
  local options = { origins = limit(ctx, "origin") .. ",absent", deflate = true,
    subprotocols = limit(ctx, "subprotocol") }
  for _, name in ipairs { "max_message", "max_fragments", "max_headers", "max_head" } do
    options[name] = limit(ctx, name)
  end
  if ctx.opt.tls then
    options.tls = tls.make_certificate() or "auto"
  end
  ctx:serve(options)
end

-- How every client of this run comes in.
local function client_options(ctx)
  local opt = ctx.opt
  local options = { origin = opt.origin ~= "" and opt.origin or nil }
  if ctx.target and opt.token ~= "" then options.token = opt.token end
  if select(2, tls.address(ctx)) then
    options.tls_ca, options.tls_verify = tls.ca_of(ctx), not tls.not_verified(ctx)
    ctx.secure = tls.context(ctx)
  end
  return options
end

local function setup(ctx)
  local opt = ctx.opt
  check_texts(opt)
  if opt.target ~= "" then
    check_target(opt)
    ctx.target = opt.target
  else
    serve(ctx)
  end
  local bystanders, publisher = client_options(ctx), client_options(ctx)
  relays = ctx.server ~= nil or does_relay(ctx)
  bystanders.cohort, bystanders.n = "bystanders", BYSTANDERS
  ctx:clients(bystanders)
  if relays then
    publisher.rate, publisher.size, publisher.duration = "50/s", 512, "1h"
    publisher.token = publisher.token or limit(ctx, "publish_token")
    ctx:publish(publisher)
  end
end

return {
  name = "guards",
  description = "Every guard of a WebSocket server, tried from outside: of wsb's own, or of --target.",
  categories = { "self-hosted" },
  options = {
    tls = { "speak TLS with wsb's own server", true },
    tls_ca = { "certificates to trust when the target is wss:// (PEM file); the system's when empty", "" },
    tls_verify = { "refuse a target whose certificate or name is wrong", true },
    target = { "ws:// or wss://HOST:PORT/PATH of another server; one of wsb's own when empty", "" },
    allow_remote = { "host that --target may name beside this machine's", "" },
    origin = { "Origin that the server accepts", "" },
    token = { "bearer token that lets a client in", "" },
    publish_token = { "bearer token that lets a client publish", "" },
    subprotocol = { "subprotocol that the server agrees to", "" },
    max_message = { "its largest message", 0, type = "size" },
    max_fragments = { "its most frames of a message", 0 },
    max_headers = { "its most header lines", 0 },
    max_head = { "its largest head", 0, type = "size" },
    max_per_address = { "its most connections of one address", 0 },
    max_connections = { "its most connections", 0 },
    max_handshakes = { "its most connections on their way in", 0 },
    message_rate = { "its most messages a second of a client", 0, type = "rate" },
    byte_rate = { "its most bytes a second of a client", 0, type = "byte_rate" },
    tls_timeout = { "its deadline of a TLS handshake", 0, type = "duration" },
    handshake_timeout = { "its deadline of an upgrade", 0, type = "duration" },
    message_timeout = { "its deadline of a message", 0, type = "duration" },
    idle_timeout = { "its deadline of a silent client", 0, type = "duration" },
    ping_timeout = { "the time after which a client that answers no ping is gone", 0, type = "duration" },
  },
  setup = setup,
  checks = CHECKS,
}
