-- The servers that are compared. Each publishes its own feed of stamped messages, is told its rate, size and
-- trimmings, and prints "serving URL" when it is ready. The first SIGUSR2 begins the feed, each further one
-- raises its rate by a fifth.

local core = require "wsb.core"
local lfs = require "lfs"
local program = require "wsb.load.program"
local server = require "wsb.load.server"

local contestants = {}

local STEP = 1.2
local BUILT, PEERS = "build/bench", "tests/bench/peers"
local MODULES = PEERS .. "/node_modules"
local BUN = MODULES .. "/@oven/bun-linux-x64/bin/bun"
local PYTHON = "/usr/bin/python3" -- Debian's, whatever else is on PATH
local NGINX = BUILT .. "/nginx"

contestants.server_cpu, contestants.load_cpus = "0", "1"

---@class bench.Wish  what a server is started with
---@field rate number
---@field size integer
---@field tls string?       "ecdsa" or "rsa": the key of its certificate
---@field deflate boolean?
---@field options table<string, any>?   of a server of wsb, further ones

---@class bench.Runs  one that runs
---@field url string
---@field pid integer
---@field rate number
---@field begin fun()                         begins its feed
---@field step fun()                          raises its rate
---@field counts (fun(): table)?              what it counts itself
---@field alive fun(): boolean
---@field close fun()

---@class bench.Contestant
---@field name string
---@field what string
---@field start fun(wish: bench.Wish): bench.Runs
---@field missing fun(): string?   why it cannot be had
---@field tls boolean?
---@field deflate boolean?
---@field aside boolean?           only when it is named
---@field full boolean?            also in what is not about messages: handshakes, memory

-- The URL that is printed; a second number is the pid to measure, where it is not that of the command.
local function announced(log)
  for line in io.lines(log) do
    local url, pid = line:match("^serving (%S+) ?(%d*)")
    if url then return url, math.tointeger(tonumber(pid)) end
  end
end

local function wish_words(wish)
  local words = { "0", tostring(wish.rate), tostring(wish.size) }
  if wish.tls then words[#words + 1] = ("tls=%s/%s.pem"):format(BUILT, wish.tls) end
  if wish.deflate then words[#words + 1] = "deflate" end
  return words
end

-- A program that is called as PORT RATE SIZE [tls=PEM] [deflate], with `words` before and `more` behind.
local function outside(words, more)
  return function(wish)
    local command = { "taskset", "-c", contestants.server_cpu }
    for _, list in ipairs { words, wish_words(wish), more or {} } do
      table.move(list, 1, #list, #command + 1, command)
    end
    local log = os.tmpname()
    local service = program.start { command = command, ready = "serving ws", log = log, timeout = "20s" }
    local url, pid = announced(log)
    local runs = { url = url, pid = pid or service:pid(), rate = wish.rate }
    function runs.alive() return service:alive() end
    function runs.begin() -- not to its process group: others than it might hear it
      os.execute(("kill -USR2 %d"):format(service:pid()))
    end
    function runs.step()
      runs.begin()
      runs.rate = runs.rate * STEP
    end
    function runs.close()
      service:stop("1s")
      service:close()
      os.remove(log)
    end
    return runs
  end
end

-- Without its bound on those that are on their way in, which the others do not have.
local function start_wsb(wish, io_uring)
  local options = { feed_size = wish.size, path = "/feed", deflate = wish.deflate, max_handshakes = "1M",
    io_uring = io_uring }
  for name, value in pairs(wish.options or {}) do options[name] = value end
  if wish.tls then
    options.tls = "auto"
    options.tls_auto_key = wish.tls
  end
  local own = server.start(options, {})
  os.execute(("taskset -cp %s %d >/dev/null"):format(contestants.server_cpu, own:pid()))
  local runs = { url = own.url, pid = own:pid(), rate = wish.rate }
  function runs.alive() return own:alive() end
  function runs.begin() own:set { feed_rate = runs.rate } end
  function runs.counts() return own:counts() end
  function runs.step()
    runs.rate = runs.rate * STEP
    runs.begin()
  end
  function runs.close() own:close() end
  return runs
end

local function wsb(io_uring)
  return function(wish) return start_wsb(wish, io_uring) end
end

local function needs(path, remedy)
  return function()
    if lfs.attributes(path, "mode") then return nil end
    return ("%s is not there: %s"):format(path, remedy)
  end
end

local function needs_ring()
  local probe = io.popen(BUILT .. "/floor 0 0 x uring 2>&1; true")
  local said = probe and probe:read("a") or ""
  if probe then probe:close() end
  return said:match("io_uring not available[^\n]*")
end

local function needs_websockets()
  if os.execute(PYTHON .. " -c 'import websockets' 2>/dev/null") then return nil end
  return "python3-websockets is not installed"
end

local function floor(mode)
  return outside({ BUILT .. "/floor" }, { mode })
end

local NPM = "npm could not fetch it (npm --prefix tests/bench/peers ci)"

---@type bench.Contestant[]
contestants.all = {
  { name = "floor", what = "one send() a message and subscriber, nothing else", start = floor "send",
    missing = needs(BUILT .. "/floor", "make bench builds it"), full = true },
  { name = "floor-joined", what = "what is due at once in one send()", start = floor "joined",
    missing = needs(BUILT .. "/floor", "make bench builds it") },
  { name = "floor-uring", what = "one send a message, batched by io_uring", start = floor "uring",
    missing = needs_ring },
  { name = "floor-zerocopy", what = "as floor, with MSG_ZEROCOPY", start = floor "zerocopy", aside = true,
    missing = needs(BUILT .. "/floor", "make bench builds it") },
  { name = "floor-busy", what = "as floor, with SO_BUSY_POLL", start = floor "busy", aside = true,
    missing = needs(BUILT .. "/floor", "make bench builds it") },
  { name = "floor-tee", what = "from a pipe by tee and splice", start = floor "tee", aside = true,
    missing = needs(BUILT .. "/floor", "make bench builds it") },
  { name = "wsb", what = "wsb " .. core.version, start = wsb(false), missing = function() end, full = true,
    tls = true, deflate = true },
  { name = "wsb-uring", what = "the same with the option io_uring", start = wsb(true), missing = needs_ring },
  { name = "bun", what = "Bun.serve, server.publish (uWebSockets)",
    start = outside { BUN, PEERS .. "/bun.js" }, missing = needs(BUN, NPM),
    full = true, tls = true, deflate = true },
  { name = "lws", what = "libwebsockets", start = outside { BUILT .. "/lws" },
    missing = needs(BUILT .. "/lws", "libwebsockets-dev"), full = true, tls = true, deflate = true },
  { name = "nchan", what = "nginx with nchan, published to over HTTP",
    start = outside { "node", PEERS .. "/nchan.js", NGINX }, full = true, tls = true,
    missing = needs(NGINX .. "/usr/lib/nginx/modules/ngx_nchan_module.so",
      "apt-get could not fetch libnginx-mod-nchan") },
  { name = "ws", what = "npm ws", start = outside { "node", PEERS .. "/ws.js" },
    missing = needs(MODULES .. "/ws", NPM), full = true, tls = true, deflate = true },
  { name = "websockets", what = "python3-websockets, broadcast()", full = true, tls = true, deflate = true,
    start = outside { PYTHON, PEERS .. "/websockets_feed.py" }, missing = needs_websockets },
}

---@param names string  comma-separated, or "all"
---@return bench.Contestant[] present
---@return {name: string, why: string}[] missing
function contestants.choose(names)
  local present, missing = {}, {}
  for _, one in ipairs(contestants.all) do
    if names == "all" and not one.aside or ("," .. names .. ","):find("," .. one.name .. ",", 1, true) then
      local why = one.missing()
      if why then
        missing[#missing + 1] = { name = one.name, why = why }
      else
        present[#present + 1] = one
      end
    end
  end
  return present, missing
end

return contestants
