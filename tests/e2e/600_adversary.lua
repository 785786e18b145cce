-- Every kind of hostile client at once. Those who behave must not notice, and nothing of it may stay behind.
-- Runs alone.

local lab = require "lab"
local served = require "served"
local t = require "harness"
local uv = require "luv"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT, BINARY, CONTINUATION = websocket.TEXT, websocket.BINARY, websocket.CONTINUATION
local CLOSE, PING, PONG = websocket.CLOSE, websocket.PING, websocket.PONG
local part = { fin = false }

local HEALTHY, ROUNDS = 200, 3
local HOSTILE, CROWD, PASSING = "127.0.0.9", "127.0.0.10", "127.0.0.11"
local FEED, FEED_SIZE = "50/s", "256"
local SLOWLORIS, MAX_HANDSHAKES = 300, 200
local PATIENCE = 30 -- seconds, for what comes in an instant, on a machine that has other work as well
local STALLED, PUBLISHERS = 5, 3 -- on a topic of their own
local FLOOD = frame(BINARY, ("a"):rep(60000)):rep(2) -- of all publishers: more than the mark, of two: less
local GUARDS = { max_message = "64KiB", handshake_timeout = "1s", message_timeout = "1s",
  ping_interval = "1s", ping_timeout = "1s", evict_grace = "500ms", subscribe_token = "sub",
  publish_token = "pub", origins = "absent,https://good.example", max_headers = "30", max_fragments = "50",
  max_per_address = "90", max_handshakes = tostring(MAX_HANDSHAKES), message_rate = "100/s",
  byte_rate = "256KiB/s", high_water_mark = "256KiB", send_buffer = "16KiB", log = "error" }

-- What behaves: it counts the feed's messages and answers pings.

local function healthy_frame(client, opcode, payload)
  if opcode == PING then return client.tcp:write(frame(PONG, payload)) end
  if opcode ~= TEXT then client.wrong = ("opcode %d %q"):format(opcode, payload) return end
  local sequence = tonumber(payload:match "^wsb1 %x+ (%x+) ", 16)
  if client.sequence and sequence ~= client.sequence + 1 then
    client.wrong = client.wrong or ("%d after %d"):format(sequence, client.sequence)
  end
  client.sequence = sequence
end

local function healthy_read(client, data)
  client.rest = client.rest .. data
  while #client.rest >= 4 do
    local length, from = client.rest:byte(2), 3
    if length == 126 then length, from = (">I2"):unpack(client.rest, 3), 5 end
    if #client.rest < from + length - 1 then return end
    local opcode, payload = client.rest:byte(1) & 0xF, client.rest:sub(from, from + length - 1)
    client.rest = client.rest:sub(from + length)
    healthy_frame(client, opcode, payload)
  end
end

local function healthy_client(server, i)
  local socket = server:open("/feed?token=sub", { source = ("127.0.0.%d"):format(1 + i % 4) })
  local client = { tcp = socket.tcp, rest = "" }
  healthy_read(client, socket.buffer)
  client.tcp:read_start(function(err, data)
    if data then healthy_read(client, data) else client.wrong = client.wrong or err or "end" end
  end)
  return client
end

-- Each has got what was published meanwhile, and in order.
local function all_well(healthy)
  local target = 0
  for _, client in ipairs(healthy) do target = math.max(target, client.sequence or 0) end
  for i, client in ipairs(healthy) do
    t.wait_until(function() return client.wrong or (client.sequence or 0) > target end, PATIENCE, "the feed")
    assert(not client.wrong, ("healthy client %d: %s"):format(i, client.wrong))
  end
end

-- What does not. A kind is its name, what it does, and how that has to end: a status, a close code, "gone"
-- (the server ends it, with or without a Close frame) or nil for what the client itself ends. `act` gets the
-- client, not yet upgraded when the end is to be a status or `raw` is set.

local function upgrade(changes, target) return websocket.request(target or "/feed?token=sub", changes) end

local function says(bytes) return function(client) client:throw(bytes) end end

local function close_payload(code, reason) return (">I2"):pack(code) .. (reason or "") end

-- Again and again until the client is closed.
local function every(client, ms, act)
  local timer = uv.new_timer()
  timer:start(ms, ms, function()
    if client.tcp:is_closing() then timer:close() else act() end
  end)
end

local function drips(bytes)
  return function(client)
    local at = 0
    every(client, 100, function()
      at = at + 1
      client:throw(bytes:sub(at, at))
    end)
  end
end

-- Takes a little now and then: what its small buffer holds.
local function sips(client)
  every(client, 200, function()
    client.tcp:read_start(function(err, data)
      client.tcp:read_stop()
      if not data then client.over = client.over or err or "end" end
    end)
  end)
end

local function leaves(client) client:close() end
local function resets(client) client:reset() end
local function nothing() end

local GARBAGE = ("\x8f\x13\xe7\x01\xbc"):rep(200)
local HELLO_TLS = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" .. ("\x5a"):rep(505)
local BODY = upgrade { Host = "a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked" }

local HTTP = {
  { "half head", says(upgrade():sub(1, 60)), "gone" },
  { "silent", nothing, "gone" },
  { "slow head", drips(upgrade()), "gone" },
  { "huge head", says("GET /" .. ("x"):rep(20000)), 431 },
  { "many headers", says(upgrade { Host = "a" .. ("\r\nX: y"):rep(40) }), 431 },
  { "bare LF", says((upgrade():gsub("\r\n", "\n"))), 400 },
  { "Content-Length and Transfer-Encoding", says(BODY), 400 },
  { "HTTP/1.0", says((upgrade():gsub("HTTP/1.1", "HTTP/1.0"))), 400 },
  { "HTTP/2 preface", says "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400 },
  { "TLS to a plain port", says(HELLO_TLS), 400 },
  { "absolute-form", says(upgrade(nil, "http://a/feed?token=sub")), 400 },
  { "bad key", says(upgrade { ["Sec-WebSocket-Key"] = "c2hvcnQ=" }), 400 },
  { "wrong version", says(upgrade { ["Sec-WebSocket-Version"] = "8" }), 426 },
  { "other Origin", says(upgrade { Host = "a\r\nOrigin: https://bad.example" }), 403 },
  { "bad token", says(upgrade(nil, "/feed?token=bad")), 401 },
  { "garbage for a head", says(GARBAGE), 400 },
  { "reset in the handshake", function(client) client:throw(upgrade():sub(1, 50)) resets(client) end },
  { "leaves in the handshake", function(client) client:throw(upgrade():sub(1, 50)) leaves(client) end },
}

local WEBSOCKET = {
  { "reset after 101", resets },
  { "end after 101", leaves },
  { "half close, and stays", function(client) client:shut() end, "gone" },
  { "never reads", nothing, "gone", target = "/feed?token=sub" },
  { "reads a little now and then", sips, "gone", target = "/feed?token=sub", sips = true },
  { "unmasked frame", says(frame(TEXT, "a", { mask = false })), 1002 },
  { "reserved opcode", says(frame(0x3, "a")), 1002 },
  { "reserved control opcode", says(frame(0xB, "a")), 1002 },
  { "RSV1 without agreement", says(frame(TEXT, "a", { rsv = 4 })), 1002 },
  { "RSV2", says(frame(TEXT, "a", { rsv = 2 })), 1002 },
  { "length in 16 bits that needs 7", says "\x81\xfe\x00\x05aaaahello", 1002 },
  { "length in 64 bits that needs 16", says "\x81\xff\x00\x00\x00\x00\x00\x00\x01\x00aaaa", 1002 },
  { "length with the top bit", says "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00aaaa", 1002 },
  { "fragmented ping", says(frame(PING, "a", part)), 1002 },
  { "ping of 126 bytes", says(frame(PING, ("a"):rep(126))), 1002 },
  { "ping flood, unread", says(frame(PING, ("a"):rep(125)):rep(20000)), 1008 },
  { "pong flood", says(frame(PONG, "a"):rep(200000)), 1008 },
  { "empty fragment flood", says(frame(TEXT, "", part) .. frame(CONTINUATION, "", part):rep(100)), 1008 },
  { "continuation first", says(frame(CONTINUATION, "a")), 1002 },
  { "message inside a message", says(frame(TEXT, "a", part) .. frame(TEXT, "a")), 1002 },
  { "too big, announced", says(frame(BINARY, "", { length = 1 << 40 })), 1009 },
  { "too big, in fragments", says(frame(BINARY, ("a"):rep(40000), part)
    .. frame(CONTINUATION, ("a"):rep(40000))), 1009 },
  { "bad UTF-8, late", says(frame(TEXT, ("a"):rep(5000) .. "\xff")), 1007 },
  { "UTF-8 cut at the end", says(frame(TEXT, "a\xe2\x82")), 1007 },
  { "slow body", drips(frame(TEXT, ("slow"):rep(100))), 3008 },
  { "half a body", says(frame(TEXT, "slow"):sub(1, 7)), 3008 },
  { "half a header", says "\x81", 3008 },
  { "stops inside a message", says(frame(TEXT, "a", part)), 3008 },
  { "close 1005", says(frame(CLOSE, close_payload(1005))), 1002 },
  { "close 1006", says(frame(CLOSE, close_payload(1006))), 1002 },
  { "close 999", says(frame(CLOSE, close_payload(999))), 1002 },
  { "close 5000", says(frame(CLOSE, close_payload(5000))), 1002 },
  { "close of one byte", says(frame(CLOSE, "\x03")), 1002 },
  { "close reason, bad UTF-8", says(frame(CLOSE, close_payload(1000, "\xff"))), 1007 },
  { "data after close", says(frame(CLOSE, close_payload(1000)) .. frame(TEXT, "a"):rep(10)), 1000 },
  { "never answers our close", says(frame(0x4)), 1002 },
  { "close flood", says(frame(CLOSE, close_payload(1000)):rep(1000)), 1000 },
  { "message flood", says(frame(TEXT, "a"):rep(20000)), 1008 },
  { "byte flood", says(frame(BINARY, ("a"):rep(60000)):rep(50)), 1008 },
  { "publishes without the token", says(frame(TEXT, "a")), 1008, target = "/feed?token=sub" },
  { "garbage for frames", says(GARBAGE), 1002 },
  { "garbage for a compressed message", says(frame(BINARY, ("\xff"):rep(50), { rsv = 4 })), 1007,
    deflate = true },
}

local function start(server, kind, upgraded)
  local client = server:connect { source = HOSTILE, receive_buffer = kind.sips and 4096 or nil }
  if upgraded then
    local target = ("/%s?token=pub"):format(kind[1]:gsub("%W", "-")) -- a topic that nobody else hears
    local host = kind.deflate and "a\r\nSec-WebSocket-Extensions: permessage-deflate" or "a"
    assert(client:send(upgrade({ Host = host }, kind.target or target)))
    assert(select(2, client:read_head()) == 101)
  end
  kind[2](client)
  return { kind = kind, client = client }
end

local function check_end(client, kind)
  if kind.sips then
    t.wait_until(function() return client.over end, PATIENCE, "its end")
    return
  end
  local _, how = client:read_all()
  assert(how ~= "timeout", "it is still there")
end

local function check(one)
  local expected = one.kind[3]
  local ok, err = pcall(function()
    if not expected then return end
    if expected ~= "gone" and expected < 1000 then
      local head, status = one.client:read_head()
      assert(status == expected, head)
    elseif expected ~= "gone" then
      local code, reason = one.client:expect_close()
      assert(code == expected, ("%d %s"):format(code, reason))
    end
    check_end(one.client, one.kind)
  end)
  one.client:close()
  assert(ok, ("%s: %s"):format(one.kind[1], err))
end

-- More than one address may have: those above the limit are told so, the others have to go as well.
local function crowd(server)
  local all, refused = {}, 0
  for i = 1, 100 do
    all[i] = server:connect { source = CROWD }
    all[i]:throw(upgrade())
  end
  for _, client in ipairs(all) do
    local _, status = client:read_head()
    assert(status == 101 or status == 429, status)
    refused = refused + (status == 429 and 1 or 0)
  end
  assert(refused >= 10 and refused < 100, refused) -- one that is refused counts until it has left
  for i, client in ipairs(all) do if i % 2 == 0 then client:reset() else client:close() end end
end

local function come_and_go(server)
  for i = 1, 200 do
    local client = server:connect { source = PASSING }
    if i % 4 > 1 then client:throw(upgrade()) end
    if i % 2 == 0 then client:reset() else client:close() end
  end
end

-- More on their way in than there is room for, none of which ever arrives.
local function slowloris(server)
  local all = {}
  for i = 1, SLOWLORIS do
    all[i] = server:connect { source = ("127.0.0.%d"):format(20 + i % 4) }
    all[i]:throw(upgrade():sub(1, 30))
  end
  return all
end

-- Those that stop reading where much is said: evicted for their queues before a ping could have found them.
local function stall(server)
  local stalled, publishers = {}, {}
  for i = 1, STALLED do
    stalled[i] = server:open("/busy?token=sub", { source = HOSTILE, receive_buffer = 4096 })
  end
  for i = 1, PUBLISHERS do publishers[i] = server:open("/busy?token=pub", { source = HOSTILE }) end
  for _, client in ipairs(publishers) do assert(client:send(FLOOD)) end
  return stalled, publishers
end

local function check_stalled(stalled, publishers)
  for _, client in ipairs(stalled) do
    local _, how = client:read_all()
    assert(how ~= "timeout", "a stalled reader is still there")
    client:close()
  end
  for _, client in ipairs(publishers) do client:close() end
end

local function bomb()
  local r = t.run { "python3", "-c", [[import zlib
z = zlib.compressobj(9, zlib.DEFLATED, -15)
print((z.compress(bytes(16 << 20)) + z.flush(zlib.Z_SYNC_FLUSH))[:-4].hex('\n', 32))]] }
  local bytes = r.stdout:gsub("%s", ""):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end)
  return { "zip bomb", says(frame(BINARY, bytes, { rsv = 4 })), 1009, deflate = true }
end

local function round(server, zip_bomb)
  local all, half_in = {}, slowloris(server)
  local stalled, publishers = stall(server)
  for _, kind in ipairs(HTTP) do all[#all + 1] = start(server, kind, false) end
  for _, kind in ipairs(WEBSOCKET) do all[#all + 1] = start(server, kind, true) end
  all[#all + 1] = start(server, zip_bomb, true)
  crowd(server)
  come_and_go(server)
  for _, one in ipairs(all) do check(one) end
  check_stalled(stalled, publishers)
  for _, client in ipairs(half_in) do
    local bytes, how = client:read_all()
    assert(bytes == "" and how ~= "timeout", "Slowloris: " .. how)
    client:close()
  end
end

local function descriptors(pid)
  local count, scan = 0, assert(uv.fs_scandir(("/proc/%d/fd"):format(pid)))
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

local function rss_kib(pid)
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local kib = line:match "^VmRSS:%s*(%d+)"
    if kib then return tonumber(kib) end
  end
end

t.test("nobody who behaves notices, and nothing stays behind", function()
  local flags = { "--deflate", "--feed", FEED, "--feed-size", FEED_SIZE }
  for name, value in pairs(GUARDS) do
    flags[#flags + 1] = ("--%s=%s"):format((name:gsub("_", "-")), value)
  end
  local server = served.start(flags)
  local zip_bomb, pid, healthy = bomb(), server:workers()[1] or server.process.pid, {}
  for i = 1, HEALTHY do healthy[i] = healthy_client(server, i) end
  all_well(healthy)
  local before, warm = descriptors(pid), nil
  for i = 1, ROUNDS do
    round(server, zip_bomb)
    t.wait_until(function() return descriptors(pid) == before end, PATIENCE, "the descriptors to go back")
    all_well(healthy)
    local rss = rss_kib(pid)
    warm = warm or rss
    assert(t.sanitized or rss - warm <= 4096, ("round %d: %d KiB after %d"):format(i, rss, warm))
  end
  server:leave()
  assert(server.process.code == nil, "the server died")
  assert(server:finish "sigterm" == 0, "exit code")
  assert(not server.process.stderr:find "Sanitizer", "a sanitizer complains")
end, { timeout = 240 })

-- The same attack seen from within: the healthy are a swarm, and a script prints what the server counts.
local SCRIPT = [[
local ADDRESSES = 4
return {
  name = "adversary", description = "A server under attack, and what it counts.",
  options = { n = { "healthy subscribers", 200 } },
  run = function(ctx)
    ctx:serve { %s }
    local url, cohorts = ctx.server.url:gsub("/[^/]*$", "/feed"), {}
    for i = 1, ADDRESSES do
      cohorts[i] = ctx:clients { cohort = "healthy" .. i, n = ctx.opt.n // ADDRESSES, url = url,
        token = "sub", source = "127.0.0." .. i, counted_publisher = 0 }
    end
    print("wsb: serving " .. url)
    while ctx.server:alive() do
      local words = { "counts" }
      local function add(name, value) words[#words + 1] = name .. "=" .. value end
      local server = ctx.server:counts()
      for _, name in ipairs { "queue_bytes", "blob_bytes", "incoming_bytes", "connections_open",
        "handshakes_displaced", "clients_over_limit", "clients_timed_out",
        "evictions_mark" } do add(name, server[name]) end
      for _, name in ipairs { "clients_open", "messages_received", "messages_missed", "messages_reordered",
        "messages_duplicate", "messages_corrupt" } do
        local sum = 0
        for _, cohort in ipairs(cohorts) do sum = sum + cohort:counts()[name] end
        add(name, sum)
      end
      print(table.concat(words, " "))
      io.stdout:flush()
      ctx:sleep "100ms"
    end
  end,
}
]]

-- The script's last line of figures after offset `from` of what it printed.
local function figures(process, from)
  local line, found = process.stdout:sub(from + 1):match ".*\n(counts [^\n]*)\n", {}
  if not line then return nil end
  for name, value in line:gmatch "(%S+)=(%d+)" do found[name] = tonumber(value) end
  return found, line
end

-- Waits until the server holds nothing but its healthy subscribers.
local function settled(process)
  local from, said = #process.stdout, nil
  local function at_rest()
    local now, line = figures(process, from)
    said = line or said
    return now and now.connections_open == HEALTHY and now.queue_bytes == 0 and now.blob_bytes == 0
      and now.incoming_bytes == 0 and now
  end
  local ok, found = pcall(t.wait_until, at_rest, PATIENCE, "the counters to fall back")
  if not ok then error(("%s: %s"):format(found, said), 0) end
  return found
end

t.test("its counters fall back, and a swarm misses nothing", function()
  local options, dir = { ("deflate = true, feed_rate = %q, feed_size = %q"):format(FEED, FEED_SIZE) },
    t.tmpdir()
  for name, value in pairs(GUARDS) do options[#options + 1] = ("%s = %q"):format(name, value) end
  local path = dir .. "/adversary.lua"
  lab.write(path, (SCRIPT:gsub("%%s", function() return table.concat(options, ", ") end)))
  local server = served.run { t.wsb, path, "--n", tostring(HEALTHY) }
  local before = settled(server.process)
  round(server, bomb())
  local after = settled(server.process)
  assert(after.handshakes_displaced >= SLOWLORIS - MAX_HANDSHAKES, after.handshakes_displaced)
  assert(after.clients_over_limit == 5, after.clients_over_limit) -- four floods, and one without the token
  assert(after.evictions_mark == STALLED, after.evictions_mark)
  assert(after.clients_timed_out >= 4, after.clients_timed_out)
  assert(after.clients_open == HEALTHY, after.clients_open)
  assert(after.messages_received > before.messages_received)
  for _, name in ipairs { "missed", "reordered", "duplicate", "corrupt" } do
    assert(after["messages_" .. name] == 0, name)
  end
  server:leave()
  assert(server:finish "sigterm" == 143, "exit code")
  assert(not server.process.stderr:find "Sanitizer", "a sanitizer complains")
  lab.nothing_left(server.process)
end, { timeout = 120 })
