-- wss from outside, by the openssl program: versions, resumption, ALPN, a certificate read again on SIGHUP,
-- and what is said of a certificate that cannot be used.

local lab = require "lab"
local served = require "served"
local swarmed = require "swarmed"
local t = require "harness"
local websocket = require "websocket"

local REQUEST = websocket.request "/feed"

-- What openssl says of a connection on which it asks for an upgrade, up to the server's answer.
local function connect(port, ...)
  local client = t.start({ "openssl", "s_client", "-ign_eof", "-connect", "127.0.0.1:" .. port, ... },
    { stdin = REQUEST })
  t.wait_until(function() return client.code or client.stdout:find("\r\n\r\n", 1, true) end, 10, "an answer")
  return client
end

local function upgraded(client)
  assert(client.stdout:find("HTTP/1.1 101 ", 1, true), client.stdout .. client.stderr)
  return client.stdout
end

local function serving(flags, body)
  local server = served.start(flags)
  assert(server.url:find "^wss://", server.url)
  local ok, err = xpcall(body, debug.traceback, server)
  if not ok then error(err, 0) end
  assert(server:finish "sigterm" == 0, "exit code")
  assert(not server.process.stderr:find "Sanitizer", server.process.stderr)
end

local function test(name, flags, body)
  t.test(name, function()
    local dir = t.tmpdir()
    local certificate, key = lab.certificate(dir, "one")
    local all = { "--tls", certificate, "--tls-key", key }
    serving(table.move(flags, 1, #flags, #all + 1, all), function(server)
      body(server, certificate, dir, key)
    end)
  end)
end

test("upgrades over TLS 1.2 and 1.3 with the certificate that was given", {}, function(server, certificate)
  local trusting = { "-CAfile", certificate, "-verify_return_error" }
  for _, version in ipairs { "1_2", "1_3" } do
    local said = upgraded(connect(server.port, "-tls" .. version, table.unpack(trusting)))
    assert(said:find("TLSv" .. version:gsub("_", "."), 1, true), said)
    assert(said:find("subject=CN = one", 1, true), said)
  end
end)

test("--tls-min 1.3 refuses 1.2", { "--tls-min", "1.3" }, function(server)
  upgraded(connect(server.port, "-tls1_3"))
  local client = connect(server.port, "-tls1_2")
  assert(client:wait(10) and client.code ~= 0)
  assert(client.stderr:find "protocol version", client.stderr)
end)

-- By what the client offers, in its own order.
test("AES-128 with SHA-256 comes first, ChaCha where the client puts it first", {}, function(server)
  local function agreed(cipher, ...)
    local said = upgraded(connect(server.port, ...))
    assert(said:find("Cipher is " .. cipher .. "\n", 1, true), said)
  end
  agreed("TLS_AES_128_GCM_SHA256", "-tls1_3")
  agreed("TLS_AES_256_GCM_SHA384", "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384")
  agreed("TLS_CHACHA20_POLY1305_SHA256", "-tls1_3", "-ciphersuites",
    "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
  local name = upgraded(connect(server.port, "-tls1_2")):match "Cipher is (ECDHE%-%w+)%-AES128%-GCM%-SHA256\n"
  assert(name, "another cipher")
  agreed(name .. "-CHACHA20-POLY1305", "-tls1_2", "-cipher",
    ("%s-CHACHA20-POLY1305:%s-AES128-GCM-SHA256"):format(name, name))
  for _, only in ipairs { "-AES256-GCM-SHA384", "-AES128-SHA256", "-AES256-SHA" } do
    agreed(name .. only, "-tls1_2", "-cipher", name .. only)
  end
end)

test("agrees to http/1.1 by ALPN, and refuses who wants something else", {}, function(server)
  assert(upgraded(connect(server.port, "-alpn", "h2,http/1.1")):find("ALPN protocol: http/1.1", 1, true))
  local client = connect(server.port, "-alpn", "h2")
  assert(client:wait(10) and client.stderr:find "no application protocol", client.stderr)
end)

test("resumes a session", {}, function(server, _, dir)
  for _, version in ipairs { "-tls1_2", "-tls1_3" } do
    local file = dir .. "/session" .. version
    upgraded(connect(server.port, version, "-sess_out", file))
    t.wait_until(function() return lab.read(file) end, 10, "a ticket")
    assert(upgraded(connect(server.port, version, "-sess_in", file)):find "Reused, TLSv1")
  end
end)

test("a session that was resumed can be resumed again", {}, function(server, _, dir)
  local function file(n) return ("%s/session-%d"):format(dir, n) end
  upgraded(connect(server.port, "-tls1_3", "-sess_out", file(1)))
  for n = 1, 3 do
    t.wait_until(function() return lab.read(file(n)) end, 10, "a ticket")
    local client = connect(server.port, "-tls1_3", "-sess_in", file(n), "-sess_out", file(n + 1))
    assert(upgraded(client):find "Reused, TLSv1.3")
  end
end)

test("--no-tls-tickets does not", { "--no-tls-tickets" }, function(server, _, dir)
  local file = dir .. "/session"
  upgraded(connect(server.port, "-tls1_2", "-sess_out", file))
  if lab.read(file) then
    assert(not upgraded(connect(server.port, "-tls1_2", "-sess_in", file)):find "Reused, TLSv1")
  end
end)

test("a session outlives a certificate", {}, function(server, certificate, dir, key)
  local file = dir .. "/session"
  upgraded(connect(server.port, "-tls1_3", "-sess_out", file))
  t.wait_until(function() return lab.read(file) end, 10, "a ticket")
  local second, second_key = lab.certificate(dir, "two")
  lab.write(certificate, lab.read(second))
  lab.write(key, lab.read(second_key))
  server.process:signal "sighup"
  t.wait_until(function() return server.process.stderr:find "certificate read" end, 10, "the new one")
  assert(upgraded(connect(server.port, "-tls1_3", "-sess_in", file)):find "Reused, TLSv1")
end)

test("a session cannot be resumed above --tls-ticket-lifetime", { "--tls-ticket-lifetime", "1s" },
  function(server, _, dir)
    local file, renewed = dir .. "/session", dir .. "/renewed"
    upgraded(connect(server.port, "-tls1_2", "-sess_out", file))
    t.wait_until(function() return lab.read(file) end, 10, "a ticket")
    t.wait_until(function()
      return not upgraded(connect(server.port, "-tls1_2", "-sess_in", file)):find "Reused, TLSv1"
    end, 20, "the end of the ticket")
    upgraded(connect(server.port, "-tls1_2", "-sess_out", renewed))
    t.wait_until(function() return lab.read(renewed) end, 10, "a ticket by another key")
    assert(upgraded(connect(server.port, "-tls1_2", "-sess_in", renewed)):find "Reused, TLSv1")
  end)

test("SIGHUP reads the certificate again, and keeps the old one when it cannot", {},
  function(server, certificate, dir, key)
    local held = connect(server.port)
    upgraded(held)
    local second, second_key = lab.certificate(dir, "two")
    lab.write(certificate, lab.read(second))
    lab.write(key, lab.read(second_key))
    server.process:signal "sighup"
    t.wait_until(function() return server.process.stderr:find "certificate read" end, 10, "the new one")
    assert(upgraded(connect(server.port)):find("subject=CN = two", 1, true))
    lab.write(key, "no key\n")
    server.process:signal "sighup"
    local function complained() return server.process.stderr:find "the old certificate stays" end
    t.wait_until(complained, 10, "a complaint")
    assert(server.process.stderr:find(key, 1, true), server.process.stderr)
    assert(upgraded(connect(server.port)):find("subject=CN = two", 1, true))
    assert(not held.code, "the connection from before is gone")
  end)

test("a client that speaks no TLS, or does not finish, is dropped", { "--tls-timeout", "300ms" },
  function(server)
    local plain, silent = websocket.connect(server.port), websocket.connect(server.port)
    assert(plain:send(REQUEST))
    assert(select(2, plain:read_all()) ~= "timeout", "plain HTTP was not dropped")
    assert(select(2, silent:read_all()) ~= "timeout", "silence was not dropped")
    plain:close()
    silent:close()
    upgraded(connect(server.port))
  end)

-- A swarm at this server; the sixth client comes a quarter of a second after the first.
local function swarm_at(server, max)
  return swarmed.start { url = server.url, clients = "6", connect_rate = "20", tls_verify = "false",
    tls_max = max }
end

test("a swarm with tls_max=1.2 comes in and resumes", {}, function(server)
  local swarm = swarm_at(server, "1.2")
  swarm:await("clients_open", 6)
  assert(swarm:count "clients_tls_resumed" > 0, "none resumed")
  swarm:stop()
end)

test("a server with tls_min=1.3 refuses it and says why", { "--tls-min", "1.3" }, function(server)
  local swarm = swarm_at(server, "1.2")
  swarm:await("clients_tls_failed", 6)
  swarm:expect { clients_failed = 6, clients_open = 0 }
  swarm:stop()
  assert(swarm.process.stderr:find("TLS: tlsv1 alert protocol version", 1, true), swarm.process.stderr)
  swarm = swarm_at(server, "1.3")
  swarm:await("clients_open", 6)
  swarm:stop()
end)

test("another tls_max is refused", {}, function(server)
  swarm_at(server, "1.1"):await_event "failed why=tls_max: '1.1' is not accepted; give 1.2|1.3"
end)

t.test("--tls auto makes a pair of its own", function()
  serving({ "--tls", "auto" }, function(server)
    assert(upgraded(connect(server.port)):find("subject=CN = wsb", 1, true))
  end)
end)

t.test("a certificate or key that cannot be used is named", function()
  local dir = t.tmpdir()
  local certificate, key = lab.certificate(dir, "one")
  local _, other = lab.certificate(dir, "other")
  local function refused(named, ...)
    local r = t.run { t.wsb, "serve", ... }
    assert(r.code == 64, r.code)
    assert(r.stderr:find(named, 1, true), r.stderr)
  end
  refused(dir .. "/none.pem", "--tls", dir .. "/none.pem")
  refused(key, "--tls", key)
  refused(other, "--tls", certificate, "--tls-key", other)
  refused(dir .. "/none.key", "--tls", certificate, "--tls-key", dir .. "/none.key")
end)

t.test("a scenario runs over TLS and with compression", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/secure.lua", [[
    return {
      name = "secure", description = "two arms over wss", max_lateness = "5s",
      arms = { { name = "plain", server = { deflate = false } },
        { name = "deflated", server = { deflate = true } } },
      setup = function(ctx) ctx:serve { tls = "auto" } end,
      steady_state = { { "a probe arrives", function(ctx) return ctx:probe "5s" end } },
      workload = function(ctx)
        ctx:clients { cohort = "all", n = 20, deflate = true }
        ctx:publish { rate = "50/s", size = "1KiB", duration = "1s", deflate = true }
      end,
      thresholds = {
        plain = { expect = "fail", connections_deflated = { ">=22" } },
        deflated = { expect = "pass", connections_deflated = { ">=21" },
          ["delivered{cohort:all}"] = { "ratio>=1" } },
      },
      compare = { "bytes_written", "tls_full", "tls_resumed" },
    }]])
  local r = lab.run(dir, { "secure.lua", "--quiet" })
  assert(r.code == 0, r.stdout .. r.stderr)
end)
