-- A Redis of a run, `ctx:redis`: a private one that may be hurt, or several that are a cluster; or one that
-- runs already, which is only used.
--
--     start -> kill -> restart ... -> close
--         └─ pause -> resume ─┘

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local lfs = require "lfs"
local program = require "wsb.load.program"
local resp = require "wsb.load.resp"
local task = require "wsb.base.task"

local redis = {}

local HOST = "127.0.0.1"
local FIRST_PORT, PORTS = 10000, 9000 -- their bus listens 10000 above, below what the kernel gives out
local BUS = 10000
local TRIES = 5
local SLOTS = 16384
local CLUSTER_S = 15
local SIGCONT, SIGSTOP = 18, 19
local LOOKS = { INFO = true, PING = true, PUBSUB = true } -- what another's is asked

---@class wsb.Redis
---@field url string             for the server option redis: redis://127.0.0.1:PORT
---@field port integer
---@field socket string?         its Unix socket; of a private one
---@field prefix string          for redis_prefix: nobody else's
---@field private_one boolean    ours, so that it may be hurt
---@field nodes wsb.Redis[]      all of the cluster; only itself without one
---@field private program wsb.Service?
local Redis = { __name = "wsb.Redis" }
Redis.__index = Redis

local function find_program()
  for directory in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    local path = directory .. "/redis-server"
    if lfs.attributes(path, "mode") == "file" then return path end
  end
  errors.raise(errors.ENVIRONMENT, "redis-server: not found on PATH: apt-get install redis-server")
end

local function make_directory()
  local path = os.tmpname()
  os.remove(path)
  local made, why = lfs.mkdir(path .. ".redis")
  if not made then errors.raise(errors.ENVIRONMENT, "%s.redis: %s: free the directory", path, why) end
  return path .. ".redis"
end

local function remove_directory(path)
  if lfs.symlinkattributes(path, "mode") ~= "directory" then
    os.remove(path)
    return
  end
  for name in lfs.dir(path) do
    if name ~= "." and name ~= ".." then remove_directory(path .. "/" .. name) end
  end
  lfs.rmdir(path)
end

local function free_port()
  for _ = 1, 100 do
    local port = FIRST_PORT + math.random(0, PORTS - 1)
    if not core.listen_error(HOST, port) and not core.listen_error(HOST, port + BUS) then return port end
  end
  errors.raise(errors.ENVIRONMENT, "redis-server: no free port from %d to %d: end what listens there",
    FIRST_PORT, FIRST_PORT + PORTS)
end

local function arguments(self)
  local how, dir = self.how, self.directory
  local words = { self.how.program, "--bind", HOST, "--port", tostring(self.port), "--unixsocket",
    dir .. "/socket", "--dir", dir, "--save", "", "--appendonly", how.persistent and "yes" or "no",
    "--enable-debug-command", "local", "--loglevel", "notice", "--daemonize", "no" }
  local function add(name, ...)
    table.insert(words, "--" .. name)
    for _, word in ipairs { ... } do
      table.insert(words, word)
    end
  end
  if how.output_buffer then
    local limit = {}
    for word in how.output_buffer:gmatch "%S+" do
      table.insert(limit, word)
    end
    add("client-output-buffer-limit", table.unpack(limit))
  end
  if how.cluster then
    add("cluster-enabled", "yes")
    add("cluster-node-timeout", "2000")
    add("cluster-require-full-coverage", "no")
  end
  return words
end

local function launch(self)
  self.program = program.start { command = arguments(self), ready = ("%s:%d"):format(HOST, self.port),
    label = "redis-server", log = self.how.log, env = { LC_ALL = "C" } }
end

-- Somebody may take the port between the look and the start.
local function start_somewhere(self)
  for try = 1, TRIES do
    self.port = free_port()
    local ok, err = xpcall(launch, errors.handler, self)
    if ok then return end
    if try == TRIES or err.exit ~= errors.ENVIRONMENT then error(err, 0) end
  end
end

local function check_version(self)
  local info = self:info "server"
  local major = tonumber((info.redis_version or "0"):match "^%d+")
  if major < 7 then
    errors.raise(errors.ENVIRONMENT, "redis-server: version %s: install 7 or later", info.redis_version)
  end
end

local function start_node(how)
  local self = setmetatable({ how = how, private_one = true, prefix = "wsb", directory = make_directory() },
    Redis)
  self.nodes = { self }
  local ok, err = xpcall(function()
    start_somewhere(self)
    check_version(self)
  end, errors.handler)
  if not ok then
    self:close()
    error(err, 0)
  end
  self.url, self.socket = ("redis://%s:%d"):format(HOST, self.port), self.directory .. "/socket"
  return self
end

-- Asks and insists on an answer.
local function demand(self, ...)
  local reply, why = self:command(...)
  if reply == nil then
    errors.raise(errors.ENVIRONMENT, "redis-server: %s: %s: see its log", table.concat({ ... }, " "), why)
  end
  return reply
end

local function whole(node, n)
  local info = demand(node, "CLUSTER", "INFO")
  return info:find "cluster_state:ok" and info:find("cluster_known_nodes:" .. n .. "\r", 1, true)
    and info:find("cluster_size:" .. n .. "\r", 1, true)
end

local function assemble(nodes)
  for i, node in ipairs(nodes) do
    demand(node, "CLUSTER", "ADDSLOTSRANGE", (i - 1) * SLOTS // #nodes, i * SLOTS // #nodes - 1)
    demand(node, "CLUSTER", "SET-CONFIG-EPOCH", i)
  end
  for i = 2, #nodes do
    demand(nodes[1], "CLUSTER", "MEET", HOST, nodes[i].port)
  end
  for _, node in ipairs(nodes) do
    if not task.wait(function() return whole(node, #nodes) end, CLUSTER_S) then
      errors.raise(errors.ENVIRONMENT, "redis-server: the cluster has not formed: see its log")
    end
  end
end

---Starts a private Redis on a free port of this machine, with all it writes in a directory of its own that
---ends with it; or so many that are a cluster, and returns the first. Raises status 69 when it cannot be had.
---@param options wsb.RedisOptions  see init.lua
---@param log? string  path its output is appended to
---@return wsb.Redis
---@async
function redis.start(options, log)
  local how = { program = find_program(), log = log, persistent = options.persistent,
    output_buffer = options.output_buffer, cluster = options.cluster }
  local first = start_node(how)
  local ok, err = xpcall(function()
    for i = 2, how.cluster or 1 do
      first.nodes[i] = start_node(how)
    end
    if how.cluster then assemble(first.nodes) end
  end, errors.handler)
  if ok then return first end
  first:close()
  error(err, 0)
end

---One that runs already. It is only used: what would hurt it raises status 69.
---@param url string
---@return wsb.Redis
function redis.theirs(url)
  local scheme, rest = url:match "^(rediss?)://(.+)$"
  local user, address = (rest or ""):match "^([^@/]*)@(.+)$"
  local host, port = (address or rest or ""):match "^%[?([^%]/]-)%]?:(%d+)/?%d*$"
  if not host then host, port = (address or rest or ""):match "^%[?([^%]/]+)%]?/?%d*$", 6379 end
  if not scheme or not host then
    errors.raise(errors.USAGE, "--redis: '%s' is not accepted: give redis:// or rediss://HOST:PORT", url)
  end
  local prefix = ("wsb-%x"):format(math.random(0, 0xffffffff))
  local self = setmetatable({ url = url, host = host, port = math.tointeger(tonumber(port)), user = user,
    secure = scheme == "rediss", private_one = false, prefix = prefix }, Redis)
  self.nodes = { self }
  return self
end

local function check_ours(self, what)
  if self.private_one then return end
  errors.raise(errors.ENVIRONMENT, "%s: %s: it is not ours to hurt: leave --redis out, and a private one is "
    .. "started", self.url, what)
end

---@return boolean
function Redis:alive()
  return not self.private_one or (self.program ~= nil and self.program:alive())
end

---@return integer
function Redis:pid()
  check_ours(self, "pid")
  return self.program:pid()
end

---As a crash would; what it held is lost unless it is persistent.
---@async
function Redis:kill()
  check_ours(self, "kill")
  self.program:kill()
end

---Starts it again, on the same port.
---@async
function Redis:restart()
  check_ours(self, "restart")
  if self:alive() then errors.raise(errors.SCRIPT, "ctx:redis: restart: it still runs: kill it first") end
  self.program:close()
  os.remove(self.socket)
  launch(self)
end

---Stops it where it stands (SIGSTOP): its connections stay open, and nothing is answered.
function Redis:pause()
  check_ours(self, "pause")
  self.program.worker:kill(SIGSTOP)
end

---Lets it go on after pause.
function Redis:resume()
  check_ours(self, "resume")
  self.program.worker:kill(SIGCONT)
end

local function credentials(self)
  local name, password = (self.user or ""):match "^([^:]*):(.*)$"
  if not password or password == "" then return nil end
  return name == "" and { "AUTH", password } or { "AUTH", name, password }
end

-- The connection that commands go over; a new one when the last one is of no use.
local function connected(self)
  if self.link and not self.link:closed() then return self.link end
  local tls = self.secure and core.tls { name = self.host } or nil
  local link, why = resp.connect(self.host or HOST, self.port, tls)
  if not link then return nil, why end
  local auth = credentials(self)
  if auth then
    local ok, refused = link:ask(auth)
    if not ok then return nil, refused end
  end
  self.link = link
  return link
end

---Asks Redis something: command("CLIENT", "KILL", "TYPE", "pubsub"). Another's is asked INFO, PING and PUBSUB
---only.
---@param ... string|number
---@return any reply    text, an integer, false for none, or a list; nil when there is none
---@return string? why  "timeout", "end", "reset", "failed", or the error that Redis answered
---@async
function Redis:command(...)
  local words = { ... }
  if not LOOKS[tostring(words[1]):upper()] then check_ours(self, table.concat(words, " ")) end
  local link, why = connected(self)
  if not link then return nil, why end
  local reply, trouble = link:ask(words)
  if trouble == "end" or trouble == "reset" then -- it was restarted since the last command
    link = connected(self)
    if link then return link:ask(words) end
  end
  if reply == nil then return nil, trouble end
  return reply
end

---The figures of INFO by name.
---@param section? string  "stats"
---@return table<string, string>  empty when it does not answer
---@async
function Redis:info(section)
  local figures = {}
  for name, value in (self:command("INFO", section or "all") or ""):gmatch "([%w_]+):([^\r\n]*)\r\n" do
    figures[name] = value
  end
  return figures
end

---How many connections have subscribed to a channel, plain or sharded, on all nodes.
---@param channel string
---@return integer
---@async
function Redis:subscribers(channel)
  local total = 0
  for _, node in ipairs(self.nodes) do
    for _, how in ipairs { "NUMSUB", "SHARDNUMSUB" } do
      local counted = node:command("PUBSUB", how, channel)
      total = total + (counted and counted[2] or 0)
    end
  end
  return total
end

local function sum(self, what)
  check_ours(self, "memory and processor time")
  local total = 0
  for _, node in ipairs(self.nodes) do
    local sample = node:alive() and node.program.worker:sample()
    total = total + (sample and what(sample) or 0)
  end
  return total
end

---What it has in memory, all nodes together.
---@return integer bytes
function Redis:memory()
  return sum(self, function(sample) return sample.rss end)
end

---Processor time that it has used, all nodes together; of a restarted one since then.
---@return number seconds
function Redis:cpu()
  return sum(self, function(sample) return sample.user + sample.system end)
end

---Ends it, all nodes of a cluster, and removes what it has written; another's goes on. Idempotent.
function Redis:close()
  for i = #self.nodes, 2, -1 do
    table.remove(self.nodes, i):close()
  end
  if self.link then self.link:close() end
  if not self.private_one then return end
  if self.program then self.program:close() end
  remove_directory(self.directory)
end

return redis
