-- A broadcast server of a run: `ctx.server`, or one of `ctx.servers`. It may be killed and started again; its
-- counters go on, as a monitoring system would see them.
--
--     start -> kill, stop or drain -> restart ... -> close

local core = require "wsb.core"
local config = require "wsb.load.config"
local errors = require "wsb.base.errors"
local process = require "wsb.load.process"
local units = require "wsb.base.units"

local server = {}

local STOP_S = 5
local MAX_PORT = 65535

---@class wsb.Server
---@field name string
---@field url string                       where clients connect
---@field port integer
---@field limit wsb.MemoryLimit?
---@field limit_bytes integer?
---@field limit_why string?                why the limit is not a cgroup
---@field options table<string, string|number|boolean>  as given
---@field process wsb.Process             the one that runs, or ran last
---@field asked_to_end false|"stop"|"kill"   "stop" also by drain
---@field private past table               counters and close codes of the processes before
---@field private how table
local Server = { __name = "wsb.Server" }
Server.__index = Server

local function check_address(host, port)
  if port > MAX_PORT then
    errors.raise(errors.USAGE, "port: '%d' is not accepted: give 0 to %d", port, MAX_PORT)
  end
  local refused = core.listen_error(host, port)
  if not refused then return end
  local thing, remedy = "port", "choose another, or 0 for any free one"
  local no_host = core.listen_error(host, 0)
  if no_host == "Invalid argument" then
    errors.raise(errors.USAGE, "host: '%s' is not accepted: give a numeric address or localhost", host)
  elseif no_host then
    thing, remedy = "host", "give an address of this machine"
  end
  errors.raise(errors.ENVIRONMENT, "%s: %s:%d cannot be listened on (%s): %s", thing, host, port, refused,
    remedy)
end

-- How a client on this machine names the host.
local function url_host(host)
  if host == "0.0.0.0" then return "127.0.0.1" end
  if host == "::" then return "[::1]" end
  return host:find(":", 1, true) and ("[%s]"):format(host) or host
end

-- The limit, its bytes, and why it is not a cgroup.
local function make_limit(text, kind)
  local bytes, accepted = units.read("size", text)
  if not bytes then
    errors.refuse("ctx:serve.memory_limit", text, accepted)
  end
  local limit, why = core.memory_limit(bytes, kind ~= "rlimit")
  if kind == "cgroup" and limit:kind() == "RLIMIT_DATA" then
    limit:close()
    errors.raise(errors.ENVIRONMENT, "memory limit: no cgroup (%s): run as root, or use "
      .. "--memory-limit-kind rlimit", why)
  end
  if kind == "rlimit" then why = "asked for with --memory-limit-kind rlimit" end
  return limit, bytes, why
end

-- Starts a process for it, which may be the next of several.
local function launch(self)
  local remedy = self.limit and ("raise its memory limit (%s)"):format(core.format("size", self.limit_bytes))
  return process.start("server", self.options, { label = self.name, where = "ctx:serve",
    limit = self.limit, log = self.how.log, remedy = remedy })
end

---Starts the first process of a server, under the memory limit that its `how` asks for.
---@param self wsb.Server|wsb.Foreign   gets limit and process
---@param start fun(self: table): table
---@async
function server.start_limited(self, start)
  local how = self.how
  if how.memory_limit then
    self.limit, self.limit_bytes, self.limit_why = make_limit(how.memory_limit, how.limit_kind)
  end
  local ok, started = xpcall(start, errors.handler, self)
  if not ok then
    if self.limit then self.limit:close() end
    error(started, 0)
  end
  self.process = started
end

---@param options table<string, string|number|boolean>  server options of config.def
---@param how {name: string?, memory_limit: string|number|nil, limit_kind: "auto"|"cgroup"|"rlimit"|nil,
---  log: string?}
---@return wsb.Server
---@async
function server.start(options, how)
  local host = options.host or config.find("server", "host").default
  local port = config.read({ type = "count" }, options.port or 0) or 0
  if not options.reuse_port then check_address(host, port) end
  -- A file is read afterwards, by people with questions.
  if how.log then options.log = options.log or "info" end
  local self = setmetatable({ name = how.name or "server", options = options, how = how,
    asked_to_end = false, past = { counts = {}, closes = {} } }, Server)
  server.start_limited(self, launch)
  self.port = math.tointeger(tonumber(self.process.ready.port)) or port
  local path = options.path
  if path == nil or path == "" then path = "/feed" end
  local scheme = (options.tls or "") ~= "" and "wss" or "ws"
  self.url = ("%s://%s:%d%s"):format(scheme, url_host(host), self.port, path)
  return self
end

local function is_counter(metric)
  return metric.role == "server" and metric.kind == "counter"
end

-- What the process has counted goes on counting as the server's.
local function remember(self)
  local counts = self.process.worker:counts()
  for _, metric in ipairs(core.metrics()) do
    if is_counter(metric) then
      self.past.counts[metric.name] = (self.past.counts[metric.name] or 0) + counts[metric.name]
    end
  end
  for code, row in pairs(self.process.worker:closes()) do
    local old = self.past.closes[code] or { sent = 0, seen = 0 }
    self.past.closes[code] = { sent = old.sent + row.sent, seen = old.seen + row.seen }
  end
end

---Kills it, as a crash would: SIGKILL, and the kernel closes its connections.
---@async
function Server:kill()
  self.asked_to_end = "kill"
  self.process:kill()
end

---Starts it again, on the same port and with the same options but for those in `changes`.
---@param changes? table<string, string|number|boolean>
---@async
function Server:restart(changes)
  if self:alive() then
    errors.raise(errors.SCRIPT, "ctx.server:restart: it still runs: kill, stop or drain it first")
  end
  self.options.port = self.port
  for name, value in pairs(changes or {}) do
    self.options[name] = value
  end
  local next_one = launch(self) -- until it runs, the last one's counters can still be read
  remember(self)
  self.process:close()
  self.process, self.asked_to_end = next_one, false
end

---Changes live options, e.g. `ctx.server:set { high_water_mark = "256KiB" }`.
---@param values table<string, string|number|boolean>
---@async
function Server:set(values)
  self.process:request("set", config.encode("server", values, "ctx.server:set", true))
end

---Reads certificate and key again, for new connections.
---@return string? error  why the old ones stay
---@async
function Server:reload()
  local ok, err = xpcall(self.process.request, errors.handler, self.process, "reload")
  return not ok and err.message or nil
end

---What a client of its own needs to come in: a self-signed certificate cannot be verified.
---@return table<string, string|boolean>  swarm options
function Server:credentials()
  local options = self.options
  local token = options.publish_token or ""
  if token == "" then token = options.subscribe_token or "" end
  return { token = token, tls_verify = options.tls ~= "auto" }
end

---Closes every connection with 1012 over drain_window; the process ends then.
---@param window? string|number  sets drain_window first
---@async
function Server:drain(window)
  if window then self:set { drain_window = window } end
  local chosen = window or self.options.drain_window or config.find("server", "drain_window").default
  self.asked_to_end = "stop"
  self.process:finish("drain", (units.read("duration", chosen) or 0) + STOP_S)
end

---Closes every connection with 1001; the process ends then.
---@async
function Server:stop()
  self.asked_to_end = "stop"
  self.process:finish("stop", STOP_S)
end

---@return boolean
function Server:alive()
  return self.process:alive()
end

---@return integer
function Server:pid()
  return self.process.worker:pid()
end

---Every server counter of count.def by name; also after its death.
---@return table<string, integer>
function Server:counts()
  local counts = self.process.worker:counts()
  for name, value in pairs(self.past.counts) do
    counts[name] = counts[name] + value
  end
  return counts
end

---@return table<integer, {sent: integer, seen: integer}>  by close code
function Server:closes()
  local closes = self.process.worker:closes()
  for code, row in pairs(self.past.closes) do
    local now = closes[code] or { sent = 0, seen = 0 }
    closes[code] = { sent = now.sent + row.sent, seen = now.seen + row.seen }
  end
  return closes
end

---Kills it if it still runs and removes its limit. Idempotent.
function Server:close()
  self.process:close()
  if self.limit then self.limit:close() end
end

return server
