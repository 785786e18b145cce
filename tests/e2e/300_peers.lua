-- Clients that others wrote, on a server that feeds. Each of them
--   takes 20 messages of the feed and checks their size and their order,
--   sends "hello from NAME", which reaches the test as another subscriber,
--   waits for the test's "hello to NAME", sends "thanks from NAME", and closes with 1000.

local browser = require "browser"
local served = require "served"
local t = require "harness"
local uv = require "luv"
local websocket = require "websocket"

local PEERS = uv.fs_realpath "tests/peers"
local FEED = { "--feed", "50/s", "--feed-size", "1KiB" }

-- The next message that is not of the feed. Chromium may take its time to start.
local function said(client)
  local deadline = uv.hrtime() + 40e9
  while uv.hrtime() < deadline do
    local text = client:expect(websocket.TEXT)
    if not text:find "^wsb1 " then return text end
  end
  error("nobody says anything", 2)
end

-- Starts a peer and plays the other subscriber's part to it.
local function converse(server, name, command)
  local client = server:open()
  local peer = t.start(command)
  local hello = said(client)
  assert(hello == ("hello from %s: 20 in order"):format(name), hello)
  assert(client:send_text("hello to " .. name))
  local thanks = said(client)
  assert(thanks == ("thanks from %s: é€😀"):format(name), thanks)
  return peer
end

local function ends_with_1000(peer)
  assert(peer:wait(10), "it went on")
  assert(peer.code == 0 and peer.stdout == "closed with 1000\n", peer.stdout)
end

served.test("python3-websockets takes the feed and talks to another subscriber", FEED, function(server)
  local python = "/usr/bin/python3" -- Debian's: another one on PATH would not have Debian's library
  if not uv.fs_stat(python) or t.run({ python, "-c", "import websockets" }).code ~= 0 then
    t.skip "python3-websockets is not installed"
  end
  ends_with_1000(converse(server, "python", { python, PEERS .. "/peer.py", server.url }))
end)

served.test("npm ws takes the feed and talks to another subscriber", FEED, function(server)
  if not uv.fs_stat(PEERS .. "/node_modules/ws") then t.skip "npm could not fetch ws" end
  ends_with_1000(converse(server, "node", { "node", PEERS .. "/peer.js", server.url }))
end)

served.test("a page in Chromium takes the feed and talks to another subscriber", FEED, function(server)
  local page = ("file://%s/peer.html?%s"):format(PEERS, server.url)
  local peer = converse(server, "browser", browser.command(page))
  peer:stop()
end)
