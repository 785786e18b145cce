-- `wsb guards`: every guard tried from outside, on wsb's own server and on one that others wrote.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local PEERS = uv.fs_realpath "tests/peers"

-- Runs it in a directory of its own; the rows by name, and what was found there.
local function guards(...)
  local dir = t.tmpdir()
  local r = lab.run(dir, { "guards", "--quiet", ... })
  local rows, result, path = {}, lab.result(dir, "guards")
  for _, row in ipairs(result.rows) do rows[row.name] = row end
  lab.nothing_left(r)
  return r, rows, result, path
end

local function is(rows, name, verdict, came)
  local row = assert(rows[name], name)
  assert(row.verdict == verdict and (not came or row.came == came),
    ("%s: %s, %s"):format(name, row.verdict, row.came or row.reason))
end

-- A server of npm ws: its URL.
local function toy(...)
  if not uv.fs_stat(PEERS .. "/node_modules/ws") then t.skip "npm could not fetch ws" end
  local process = t.start { "node", PEERS .. "/toy.js", ... }
  return (process:line("^wsb: serving (ws://.+)$", 20))
end

-- The same over TLS, by node's https: its host and port.
local SECURE_TOY = [[
  const fs = require("fs"), [peers, certificate, key, min] = process.argv.slice(1);
  const { WebSocketServer } = require(peers + "/node_modules/ws");
  const ciphers = min === "TLSv1" ? "DEFAULT@SECLEVEL=0" : undefined;
  const server = require("https").createServer({ cert: fs.readFileSync(certificate), minVersion: min,
    key: fs.readFileSync(key), ciphers, handshakeTimeout: min === "TLSv1" ? 60000 : 300 });
  new WebSocketServer({ server, maxPayload: 65536 }).on("connection", (client, request) => {
    client.on("error", () => {});
    client.on("message", (data, binary) => {
      for (const other of clients) if (other !== client) other.send(data, { binary });
    });
    clients.add(client);
    client.on("close", () => clients.delete(client));
  });
  const clients = new Set();
  server.on("tlsClientError", (error, socket) => socket.destroy());
  server.listen(0, "127.0.0.1", () => console.log("port " + server.address().port));
]]

local function secure_toy(certificate, key, min)
  if not uv.fs_stat(PEERS .. "/node_modules/ws") then t.skip "npm could not fetch ws" end
  local process = t.start { "node", "-e", SECURE_TOY, PEERS, certificate, key, min }
  return "127.0.0.1:" .. process:line("^port (%d+)$", 20)
end

t.test("wsb's own server holds every row, and the others receive everything meanwhile", function()
  local r, rows, result, path = guards()
  local failed = {}
  for _, row in ipairs(result.rows) do
    if row.verdict ~= "held" then
      table.insert(failed, ("%s: %s, not %s"):format(row.name, row.came or row.reason, row.expected))
    end
  end
  is(rows, "the others receive", "held", "100 %")
  assert(#failed == 0, table.concat(failed, "\n"))
  assert(r.code == 0 and r.stdout:find "\nHELD  %d+ held, 0 failed, 0 not applicable\n")
  for _, name in ipairs { "report.md", "report.html", "script.lua", "env.json", "server.log" } do
    assert(lab.read(path .. "/" .. name), name)
  end
end)

t.test("another's server is judged by what it answers", function()
  local url = toy("65536", "https://app.example")
  local r, rows, result, path = guards("--target", url, "--origin", "https://app.example",
    "--max-message", "64KiB")
  for _, name in ipairs { "Origin: another site's", "Origin: its own", "message: one frame",
    "message: fragments", "message: inflated", "message: at the limit", "frame: unmasked", "text: UTF-8",
    "the others stay", "the others receive" } do
    is(rows, name, "held")
  end
  is(rows, "head: two hosts", "FAILED", "101")
  is(rows, "fragments", "n/a")
  assert(rows.fragments.reason == "needs the server's limit: give --max-fragments")
  is(rows, "token: in the query", "n/a")
  assert(r.code == 1 and result.verdict == "FAILED")
  local line = "| head: two hosts | Host twice | 400 | 101 | FAILED |"
  assert(lab.read(path .. "/report.md"):find(line, 1, true), "report.md")
end)

t.test("a guard that is not there is a failed row", function()
  local r, rows = guards("--target", toy(), "--origin", "https://app.example", "--max-message", "64KiB",
    "--message-timeout", "100ms")
  is(rows, "Origin: another site's", "FAILED", "101")
  is(rows, "message: one frame", "FAILED", "still open")
  is(rows, "message: inflated", "FAILED", "still open")
  is(rows, "deadline: slow message", "FAILED", "still open")
  is(rows, "the others receive", "held", "100 %")
  assert(r.code == 1)
end)

t.test("another's server is asked over TLS", function()
  local certificate, key = lab.certificate(t.tmpdir(), "toy")
  local url = ("wss://%s/feed"):format(secure_toy(certificate, key, "TLSv1.2"))
  local r, rows = guards("--target", url, "--tls-ca", certificate, "--tls-timeout", "300ms", "--max-message",
    "64KiB", "--token", "unasked")
  for _, name in ipairs { "TLS: silence", "TLS: half a hello", "TLS: plain HTTP", "TLS 1.0", "TLS 1.1",
    "TLS 1.2", "TLS 1.3", "TLS: resumption", "certificate: trusted", "certificate: not trusted",
    "certificate: name", "message: one frame", "frame: unmasked", "the others stay", "the others receive" } do
    is(rows, name, "held")
  end
  is(rows, "TLS 1.2", "held", "TLS 1.2")
  is(rows, "certificate: read again", "n/a")
  is(rows, "token: wrong", "FAILED", "101")
  is(rows, "token: right", "n/a")
  assert(rows["token: right"].reason == "'token: wrong' was not refused")
  assert(r.code == 1)
end)

t.test("a server that speaks old TLS, and waits for ever, fails", function()
  local certificate, key = lab.certificate(t.tmpdir(), "toy")
  local url = ("wss://%s/"):format(secure_toy(certificate, key, "TLSv1"))
  local _, rows = guards("--target", url, "--no-tls-verify", "--tls-timeout", "100ms")
  is(rows, "TLS: silence", "FAILED", "still open")
  is(rows, "TLS 1.0", "FAILED", "TLS 1.0")
  is(rows, "TLS 1.1", "FAILED", "TLS 1.1")
  is(rows, "certificate: trusted", "n/a")
  is(rows, "the others stay", "held")
end)

t.test("wsb's own server without TLS has no rows of it", function()
  local r, rows = guards "--no-tls"
  is(rows, "TLS: silence", "n/a")
  is(rows, "the others receive", "held", "100 %")
  assert(r.code == 0 and r.stdout:find "\nHELD  %d+ held, 0 failed, 12 not applicable\n")
end)

local function refused(code, text, ...)
  local dir = t.tmpdir()
  local r = lab.run(dir, { "guards", "--quiet", ... })
  assert(r.code == code and r.stdout == "", ("code %d"):format(r.code))
  assert(r.stderr:find(text, 1, true), "it does not say why")
  assert(#lab.names(dir) == 0, "a file was left behind")
  lab.nothing_left(r)
end

t.test("only this machine is a target, unless another is named", function()
  refused(64, "'192.0.2.1' is not this machine", "--target", "ws://192.0.2.1/feed", "--allow-remote",
    "192.0.2.2")
  refused(64, "'192.0.2.1' is not this machine", "--target", "ws://192.0.2.1/feed")
  refused(64, "'127.0.0.1.example' is not this machine", "--target", "ws://127.0.0.1.example/")
  refused(64, "give ws:// or wss://HOST:PORT/PATH", "--target", "http://127.0.0.1/")
  refused(64, "give ws:// or wss://HOST:PORT/PATH", "--target", "ws://127.0.0.1:99999/")
end)

t.test("what would end a header's line is refused", function()
  for _, flag in ipairs { "--origin", "--token", "--publish-token", "--subprotocol" } do
    refused(64, flag .. ": control characters are not accepted", flag, "a\r\nX: b")
  end
  local script = t.tmpdir() .. "/split.lua"
  for name, value in pairs { origin = "http://a\r", token = "a\1", subprotocols = "a\127" } do
    lab.write(script, ([[return { name = "split", description = "a header too many", run = function(ctx)
      ctx:serve {}
      ctx:clients { cohort = "all", n = 1, %s = %q }
    end }]]):format(name, value))
    local r = lab.run(t.tmpdir(), { script })
    assert(r.code == 64 and r.stderr:find(name .. ": control characters are not accepted", 1, true), r.stderr)
    lab.nothing_left(r)
  end
end)

t.test("a target that lets nobody in is told, not judged", function()
  refused(69, "Connection refused", "--target", "ws://127.0.0.1:1/")
  local certificate, key = lab.certificate(t.tmpdir(), "toy")
  refused(69, "self-signed certificate", "--target",
    ("wss://%s/"):format(secure_toy(certificate, key, "TLSv1.2")))
  refused(64, "/none.pem", "--target", "wss://127.0.0.1:1/", "--tls-ca", "/none.pem")
  refused(69, "no upgrade: 403", "--target", toy("0", "https://app.example"))
end)

t.test("an interrupt leaves nothing", function()
  local dir = t.tmpdir()
  local process = lab.start(dir, { "guards" })
  process:line("message rate", 20)
  process:signal "sigint"
  assert(process:wait(10) and process.code == 130, "code")
  assert(#lab.names(dir) == 0, "a file was left behind")
  lab.nothing_left(process)
end)
