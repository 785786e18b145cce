-- The same bytes by io_uring, where a turn's messages to many subscribers are one system call.

local served = require "served"
local t = require "harness"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT = websocket.TEXT

local CLIENTS = 300 -- more than the ring takes at once
local LARGE = 1000000 -- more than the kernel takes at once

local function test(name, flags, body)
  t.test(name, function()
    local ok, server = pcall(served.start, { "--io-uring", table.unpack(flags) })
    if not ok and tostring(server):find("io_uring: ", 1, true) then t.skip "the kernel refuses io_uring" end
    if not ok then error(server, 0) end
    body(server)
    server:leave()
    assert(server:finish "sigterm" == 0, "exit code")
    assert(not server.process.stderr:find "Sanitizer", "a sanitizer complains")
  end)
end

local function rings(server)
  local ls = t.run { "ls", "-l", ("/proc/%d/fd"):format(server:workers()[1]) }
  return select(2, ls.stdout:gsub("anon_inode:%[io_uring%]", ""))
end

test("everybody gets every message, alone and joined, large and small", { "--send-buffer", "16KiB" },
  function(server)
    assert(rings(server) == 1)
    local sender, clients = server:open(), {}
    for i = 1, CLIENTS do clients[i] = server:open() end
    local sent = {}
    for i = 1, 10 do sent[i] = ("message %d "):format(i):rep(i * i) end
    sent[11] = ("x"):rep(LARGE)
    assert(sender:send(frame(TEXT, sent[1])))
    assert(clients[1]:expect(TEXT) == sent[1])
    local rest = {}
    for i = 2, #sent do rest[#rest + 1] = frame(TEXT, sent[i]) end
    assert(sender:send(table.concat(rest)))
    for i, client in ipairs(clients) do
      for k = i == 1 and 2 or 1, #sent do
        assert(client:expect(TEXT) == sent[k], ("%d of %d"):format(k, i))
      end
    end
  end)

test("who leaves or resets in the middle takes nobody along", {}, function(server)
  local sender, witness = server:open(), server:open()
  for i = 1, 60 do
    local goes = server:open()
    assert(sender:send(frame(TEXT, tostring(i)):rep(3)))
    if i % 2 == 0 then goes:reset() else goes:close() end
    for _ = 1, 3 do assert(witness:expect(TEXT) == tostring(i)) end
  end
end)

test("who does not read is evicted, and the others lose nothing",
  { "--high-water-mark", "64KiB", "--send-buffer", "4096", "--evict-grace", "30s" }, function(server)
    local stalled, witness, sender = server:open_small(), server:open(), server:open()
    local payload = ("y"):rep(4000)
    for _ = 1, 200 do
      assert(sender:send(frame(TEXT, payload)))
      assert(witness:expect(TEXT) == payload)
    end
    local code = stalled:expect_close(function(got) assert(got.payload == payload) end)
    assert(code == 1013, code)
  end)

test("over TLS it serves as ever", { "--tls", "auto", "--feed", "100", "--feed-size", "100" },
  function(server)
    if t.run({ "sh", "-c", "command -v openssl" }).code ~= 0 then t.skip "openssl is not installed" end
    local client = t.start({ "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. server.port },
      { stdin = websocket.request "/feed" })
    t.wait_until(function() return #client.stdout > 2000 or client.code end, 10, "the feed")
    local feed = client.stdout:match "^HTTP/1.1 101 .-\r\n\r\n(.*)$"
    for at = 1, 1000, 102 do assert(feed:sub(at, at + 1):find "^[\x81\x82]d$", at) end
  end)
