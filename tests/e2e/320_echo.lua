-- Other implementations and wsb send each other 1,000 random messages of 0 B to 1 MiB, text and binary, some
-- in several frames. The server, whichever of the two it is, sends each one back; the client compares it byte
-- for byte and closes with 1000 at the end. A row that asks for deflate wants it agreed on.

local browser = require "browser"
local lab = require "lab"
local served = require "served"
local t = require "harness"
local uv = require "luv"

local PEERS = uv.fs_realpath "tests/peers"
local BUILT = t.wsb:match "^(.*)/" .. "/peers" -- what the Makefile builds of it
local MESSAGES = t.sanitized and "100" or "1000"
local LEAST_BYTES = 50e6 * MESSAGES // 1000
local TIMEOUT = 60

-- The command that starts a peer, or what is not installed.
local peers = {
  ws = function()
    if not uv.fs_stat(PEERS .. "/node_modules/ws") then return nil, "npm could not fetch ws" end
    return { "node", PEERS .. "/echo.js" }
  end,
  python = function()
    local python = "/usr/bin/python3" -- Debian's: another one on PATH would not have Debian's library
    if not uv.fs_stat(python) or t.run({ python, "-c", "import websockets" }).code ~= 0 then
      return nil, "python3-websockets is not installed"
    end
    return { python, PEERS .. "/echo.py" }
  end,
  lws = function()
    if not uv.fs_stat(BUILT .. "/echo_lws") then return nil, "libwebsockets-dev is not installed" end
    return { BUILT .. "/echo_lws" }
  end,
}

---@class echo.Row
---@field deflate string|false  whose messages share a context, as --deflate-takeover has it
---@field tls boolean

local ROWS = {
  { deflate = false, tls = false },
  { deflate = "both", tls = false },
  { deflate = false, tls = true },
  { deflate = "none", tls = true },
}

local function describe(row)
  local takeover = row.deflate and (", deflate (takeover: %s)"):format(row.deflate)
  return (takeover or "") .. (row.tls and ", TLS" or "")
end

-- How the peers call what has been agreed on.
local function agreement(row)
  return row.deflate and "permessage-deflate" or "plain"
end

local function add(list, ...)
  return table.move({ ... }, 1, select("#", ...), #list + 1, list)
end

local function command(peer, ...)
  local words, missing = peers[peer]()
  if not words then t.skip(missing) end
  return add(words, ...)
end

-- Without `agreed` the client does not tell it.
local function check_result(text, agreed)
  local bytes, rest = text:match("^" .. MESSAGES .. " messages, (%d+) bytes, (.*)$")
  assert(bytes and tonumber(bytes) > LEAST_BYTES, text)
  if agreed then rest = rest:match "^[^;,]*" == agreed and rest:match "closed with %d+$" end
  assert(rest == "closed with 1000", text)
end

local function run(words, agreed)
  local client = t.run(words, { timeout = TIMEOUT })
  assert(client.code == 0, client.stderr)
  check_result(client.stdout:gsub("\n$", ""), agreed)
end

-- A page cannot print: it tells its result to a subscriber of another server, which is always a plain one.
local function browse(server, row)
  local results = served.start()
  local client = results:open "/result"
  local page = ("file://%s/echo.html?%s,%s,%s"):format(PEERS, server.url, MESSAGES, results.url)
  local peer = t.start(browser.command(page, { "--ignore-certificate-errors" }))
  local frame = assert(client:read_frame(TIMEOUT))
  results:leave()
  peer:stop()
  check_result(frame.payload, agreement(row))
end

-- Debian's lws (4.1.6) tells its user an uncompressed message again when it comes between compressed ones.
-- With a context, and no size below which it is not used, there are none.
local function at_our_server(peer, row)
  local flags = { "--echo", "--max-message", "2MiB" }
  if row.tls then add(flags, "--tls", "auto") end
  if row.deflate and peer == "lws" then
    add(flags, "--deflate", "--deflate-takeover", "both", "--deflate-min", "0")
  elseif row.deflate then
    add(flags, "--deflate", "--deflate-takeover", row.deflate)
  end
  served.test(("%s at wsb's server%s"):format(peer, describe(row)), flags, function(server)
    assert((server.url:find "^wss:" ~= nil) == row.tls, server.url)
    if peer == "chromium" then return browse(server, row) end
    local words = command(peer, server.url, "--messages", MESSAGES)
    if row.deflate then add(words, "--deflate") end
    run(words, agreement(row))
  end)
end

-- A certificate and its key in one file.
local function pem()
  local directory = t.tmpdir()
  local certificate, key = lab.certificate(directory, "localhost")
  local path = directory .. "/both.pem"
  lab.write(path, lab.read(certificate) .. lab.read(key))
  return path
end

local function at_their_server(peer, row)
  t.test(("wsb's client at %s%s"):format(peer, describe(row)), function()
    local theirs = command(peer, "serve")
    local ours = { BUILT .. "/echo_wsb", "--messages", MESSAGES }
    if row.deflate then
      add(theirs, "--deflate")
      add(ours, "--deflate", "--takeover", row.deflate)
    end
    if row.tls then
      local file = pem()
      add(theirs, "--pem", file)
      add(ours, "--ca", file)
    end
    local server = t.start(theirs)
    run(add(ours, "--url", (server:line "^serving (.+)$")))
    server:line("^" .. agreement(row):gsub("%-", "%%-") .. ".*, closed with 1000$")
  end)
end

for _, row in ipairs(ROWS) do
  for _, peer in ipairs { "ws", "python", "lws", "chromium" } do at_our_server(peer, row) end
  for _, peer in ipairs { "ws", "python", "lws" } do at_their_server(peer, row) end
end
