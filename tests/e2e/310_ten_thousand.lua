-- 10,000 subscribers that only listen, on one `wsb serve`: all of them get in, answer their pings, stay, hear
-- a broadcast, take little memory before and after it, and are told when the server goes away. Runs alone.

local lab = require "lab"
local served = require "served"
local t = require "harness"

local CROWD, SPARE = 10000, 200
local EMPTY_FRAME = 2 -- bytes

-- In 4 s a client that does not answer its first ping has been dropped.
local SCRIPT = [[
local KEYS = { "clients_open", "clients_opened", "clients_closed", "clients_deflated", "messages_received",
  "messages_missed" }

return {
  name = "crowd", description = "Subscribers that only listen.",
  options = { n = { "subscribers", 1 }, url = { "of the server", "ws://127.0.0.1:1/feed" },
    deflate = { "offer permessage-deflate", false } },
  run = function(ctx)
    local crowd = ctx:clients { cohort = "crowd", n = ctx.opt.n, url = ctx.opt.url, connect_rate = "5000/s",
      deflate = ctx.opt.deflate }
    print("opened", crowd.opened)
    local before = crowd:counts().bytes_received
    ctx:sleep "4s"
    print("pinged", crowd:counts().bytes_received - before)
    io.stdout:flush()
    ctx:publish { url = ctx.opt.url, rate = "1/s", duration = "1s" }
    ctx:wait(function() return crowd:counts().messages_received >= ctx.opt.n end, "10s")
    for _, name in ipairs(KEYS) do
      print(name, crowd:counts()[name])
    end
    print "done"
    io.stdout:flush()
    ctx:wait(function() return crowd:counts().clients_open == 0 end, "20s")
    for code, row in pairs(crowd:closes()) do
      print("closed " .. code, row.seen)
    end
  end,
}
]]

-- Its own memory: pages of the program that it has used come and go, and are shared.
local function memory(pid)
  return tonumber(lab.read(("/proc/%d/status"):format(pid)):match "RssAnon:%s+(%d+) kB") * 1024
end

-- Bytes of the worker for each of the crowd, once it has given back what it took for a moment.
local function settled(worker, empty, most)
  local bytes
  t.wait_until(function()
    bytes = (memory(worker) - empty) / CROWD
    return t.sanitized or bytes <= most
  end, 10, ("at most %d bytes a connection"):format(most))
  return bytes
end

-- What the script printed after that name.
local function figure(crowd, name)
  return tonumber(("\n" .. crowd.stdout):match("\n" .. name .. "\t(%d+)\n"))
end

local function ten_thousand(flags, options, most)
  local hard = tonumber(t.run({ "sh", "-c", "ulimit -Hn" }).stdout)
  if hard and hard < CROWD + SPARE then t.skip(("a process may have %d descriptors here"):format(hard)) end
  local server = served.start { "--ping-interval", "1s", "--ping-timeout", "2s", "--log", "info",
    table.unpack(flags) }
  local worker = server:workers()[1]
  server:open():close() -- what the first of all costs is not counted
  local empty = memory(worker)
  local dir = t.tmpdir()
  lab.write(dir .. "/crowd.lua", SCRIPT)
  local crowd = lab.start(dir, { "crowd.lua", "--n", tostring(CROWD), "--url", server.url,
    table.unpack(options) })

  crowd:line("^pinged", 50)
  local pinged = settled(worker, empty, most)
  crowd:line("^done$", 50)
  print(("# %s: %.0f bytes a connection, %.0f after a broadcast"):format(
    t.sanitized and "with the sanitizers" or "server", pinged, settled(worker, empty, most)))
  assert(server:finish "sigterm" == 0)
  assert(server.process.stderr:find "closing 10001 connections with 1001", "the server's own count")
  assert(crowd:wait(30) and crowd.code == 0, "the crowd's end")
  assert(figure(crowd, "pinged") >= CROWD * 2 * EMPTY_FRAME, "two rounds of pings")
  local wanted_figures = { opened = CROWD, clients_open = CROWD, clients_opened = CROWD, clients_closed = 0,
    clients_deflated = #options > 0 and CROWD or 0, messages_received = CROWD, messages_missed = 0,
    ["closed 1001"] = CROWD }
  for name, wanted in pairs(wanted_figures) do
    local found = figure(crowd, name)
    assert(found == wanted, ("%s: %s, not %d"):format(name, found, wanted))
  end
end

t.test("10,000 idle subscribers connect and stay", function() ten_thousand({}, {}, 220) end, { timeout = 90 })

t.test("so they do with compression agreed on", function()
  ten_thousand({ "--deflate" }, { "--deflate" }, 300)
end, { timeout = 90 })
