-- `ctx`, what a script's functions are given: the machine room of one run.

local config = require "wsb.load.config"
local cohort = require "wsb.load.cohort"
local core = require "wsb.core"
local counted = require "wsb.measure.count"
local errors = require "wsb.base.errors"
local foreign = require "wsb.load.foreign"
local haproxy = require "wsb.load.haproxy"
local network = require "wsb.load.network"
local raw = require "wsb.load.raw"
local redis = require "wsb.load.redis"
local server = require "wsb.load.server"
local suggest = require "wsb.command.suggest"
local task = require "wsb.base.task"
local units = require "wsb.base.units"

local context = {}

local CAPACITY_S = 60 -- in which the clients that measure it have to come in
local PROBE_PUBLISHER = 1000 -- probes stamp numbers of their own, so that no cohort counts their messages

---@class wsb.Context
---@field opt table<string, any>      the script's options: numbers in base units, text, booleans
---@field given table<string, any>    those of them that the command line named; empty for an experiment
---@field arm string                  name of the arm, "" for a plain command
---@field seed integer
---@field server (wsb.Server|wsb.Foreign)?   the first of ctx:serve
---@field servers (wsb.Server|wsb.Foreign)[]  all of them
---@field target string?              where clients without a url go, instead of to ctx.server
---@field secure wsb.Tls?             how ctx:dial speaks to a wss:// URL when it is not told
---@field balancers wsb.Haproxy[]     of ctx:haproxy
---@field cohorts wsb.Cohort[]        in the order of ctx:clients
---@field publishers wsb.Cohort[]
---@field doubts string[]             why this run cannot prove anything
---@field started_at number?          core.now() when the load began
---@field faults {label: string, from_s: number, to_s: number?}[]  of ctx:fault, on the clock of the load
---@field before_fault table?         what had been counted when the first of them began
---@field network wsb.Network?        of an experiment that asks for one of its own
---@field redises wsb.Redis[]         of ctx:redis
---@field recorded table<string, number>   figures of the script's own
---@field capacity number?            handshakes a second, after ctx:measure_capacity
---@field private how table
local Context = { __name = "wsb.Context" }
Context.__index = Context

---@param how {opt: table, given: table?, arm: table?, seed: integer?, log_dir: string?,
---  limit_kind: string?, aim: wsb.Aim?, on_start: fun(ctx: wsb.Context)?, progress: fun(text: string)?}
---@return wsb.Context
function context.new(how)
  return setmetatable({ opt = how.opt, given = how.given or {}, arm = how.arm and how.arm.name or "",
    seed = how.seed or 1, servers = {}, redises = {}, balancers = {}, cohorts = {}, publishers = {},
    doubts = {}, faults = {}, recorded = {}, how = how, used = {}, dialled = {}, tls_of = {}, workers = 0,
    connections = 0, probes = 0 }, Context)
end

local function merged(...)
  local all = {}
  for _, t in ipairs { ... } do
    for name, value in pairs(t) do
      all[name] = value
    end
  end
  return all
end

-- Takes the named fields out of `spec`; what remains are options of the role.
local function take(spec, where, fields)
  local taken, rest = {}, merged(spec)
  for name, kind in pairs(fields) do
    local value = rest[name]
    rest[name] = nil
    if kind == "text" and type(value) ~= "string" then
      errors.refuse(("%s.%s"):format(where, name), value, "a name")
    elseif kind == "count" then
      local count, accepted = units.read("count", value or "?")
      if not count then errors.refuse(("%s.%s"):format(where, name), value, accepted) end
      value = count
    end
    taken[name] = value
  end
  return taken, rest
end

local function read_duration(value, where)
  local seconds, accepted = units.read("duration", value)
  if not seconds then errors.refuse(where, value, accepted) end
  return seconds
end

-- Where a worker's stderr goes; nil lets it through to ours.
function Context:log(name)
  return self.how.log_dir and ("%s/%s.log"):format(self.how.log_dir, name) or nil
end

-- The options of a client with somebody to connect to: the target or wsb's own server when the script names
-- none.
local function aimed(self, options, where, publishes)
  if options.url then return options end
  if publishes and self.server and self.server.publish_url then
    return merged({ url = self.server.publish_url }, options)
  end
  if self.target then return merged({ url = self.target }, options) end
  if self.server then return merged(self.server:credentials(), { url = self.server.url }, options) end
  errors.raise(errors.SCRIPT, "%s.url: missing: call ctx:serve first, set ctx.target, or give "
    .. "ws://host:port/path or wss://", where)
end

-- The options of one part of the arm; those that depend on the run are functions of ctx. A function under
-- `reconnect` is a policy, and stays one.
local function of_arm(self, part)
  local options = {}
  for name, value in pairs((self.how.arm or {})[part] or {}) do
    if type(value) == "function" and name ~= "reconnect" then value = value(self) end
    options[name] = value
  end
  return options
end

---Starts a server. Takes the server options of config.def and `memory_limit`; what the arm has under `server`
---comes on top. The first one is ctx.server; more need a `name`, and may share its port with reuse_port.
---@param options wsb.Serve
---@return wsb.Server
---@async
function Context:serve(options)
  local taken, rest = take(options or {}, "ctx:serve", { memory_limit = "any", name = "any" })
  local name = taken.name or "server"
  for _, other in ipairs(self.servers) do
    if other.name == name then
      errors.raise(errors.SCRIPT, "ctx:serve.name: '%s' is there already: name every server but the first",
        name)
    end
  end
  local how = { name = name, memory_limit = taken.memory_limit, limit_kind = self.how.limit_kind,
    log = self:log(name) }
  local made
  if self.how.aim then
    made = foreign.start(self.how.aim, how)
  else
    made = server.start(merged(rest, of_arm(self, "server")), how)
  end
  table.insert(self.servers, made)
  self.server = self.server or made
  return made
end

---Starts a HAProxy in front of servers; clients go through it when they are given its url.
---@param options? wsb.Balance  servers: ctx.servers when missing
---@return wsb.Haproxy
---@async
function Context:haproxy(options)
  local how = merged({ servers = self.servers }, options)
  local made = haproxy.start(how, self:log(("haproxy-%d"):format(#self.balancers + 1)))
  table.insert(self.balancers, made)
  return made
end

-- One cohort, connected; `list` is where it belongs.
local function connect(self, spec, list)
  if self.server then
    cohort.check_descriptors(self.connections + spec.n, "the server", "use fewer clients")
  end
  self.connections = self.connections + spec.n
  self.workers = self.workers + 1
  spec.options.seed = spec.options.seed or self.seed * 1000 + self.workers
  spec.shares = cohort.deal(spec.n, cohort.per_process(), self.used, cohort.per_source(spec.options))
  cohort.check_sources(spec)
  local group = cohort.start(spec, function(name) return self:log(name) end)
  table.insert(list, group)
  local _, failed = group:connect()
  if failed > 0 then
    table.insert(self.doubts, ("%d of %d clients of %s could not connect"):format(failed, spec.n, spec.name))
  end
  if self.started_at then group:start() end
  return group
end

---Connects a cohort and waits until every client is up or has failed. Its faults count from the start of the
---load: the first ctx:publish, or the end of the workload.
---@param spec wsb.Clients
---@return wsb.Cohort
---@async
function Context:clients(spec)
  local where = "ctx:clients"
  local taken, rest = take(spec, where, { cohort = "text", n = "count", faults = "any" })
  local options = aimed(self, merged(rest, of_arm(self, "clients")), where)
  for _, other in ipairs(self.cohorts) do
    if other.name == taken.cohort then
      errors.raise(errors.SCRIPT, "%s.cohort: '%s' is there already: choose another name", where,
        taken.cohort)
    end
  end
  self:say(("connecting %d clients of %s"):format(taken.n, taken.cohort))
  local faults = cohort.read_faults(taken.faults or {}, options, where)
  local group = { name = taken.cohort, n = taken.n, faults = faults, options = options, where = where }
  return connect(self, group, self.cohorts)
end

local PUBLISH = { rate = "publish_rate", size = "publish_size", duration = "publish_duration",
  arrival = "arrival" }

local function publish_options(spec, where)
  local options = {}
  for name, value in pairs(spec) do
    if not PUBLISH[name] and not config.find("swarm", name) then
      local remedy = suggest.remedy(tostring(name), { "rate", "size", "duration", "arrival" })
      errors.raise(errors.SCRIPT, "%s.%s: no such field: %s", where, name, remedy)
    end
    options[PUBLISH[name] or name] = value
  end
  return options
end

-- A schedule without messages, or without an end, would never be over.
local function check_schedule(options)
  for name, kind in pairs { publish_rate = "rate", publish_duration = "duration" } do
    local value, accepted = units.read(kind, options[name])
    if not value or value == 0 then
      local where = "ctx:publish." .. name:sub(#"publish_" + 1)
      errors.refuse(where, options[name], accepted or "more than 0")
    end
  end
end

---Connects a publisher and begins the load: its schedule and the cohorts' faults. Returns at once; the run
---goes on until the schedule is over, whatever becomes of the server.
---@param spec wsb.Publish
---@return wsb.Cohort
---@async
function Context:publish(spec)
  local options = publish_options(spec, "ctx:publish")
  if not options.publish_duration or not options.publish_rate then
    errors.raise(errors.SCRIPT, "ctx:publish: rate and duration: missing: give them, such as 100/s and 20s")
  end
  check_schedule(options)
  if self.server and self.server.relays == false then
    local pause = foreign.pause(read_duration(options.publish_duration, "ctx:publish.duration"))
    table.insert(self.publishers, pause)
    self:start()
    return pause
  end
  options = aimed(self, options, "ctx:publish", true)
  local publisher = connect(self,
    { name = "publisher", n = 1, faults = {}, options = options, where = "ctx:publish" }, self.publishers)
  self:start()
  return publisher
end

---Begins the load, once: every cohort's faults and every schedule, at the same moment.
---@async
function Context:start()
  if self.started_at then return end
  for _, group in ipairs(self.cohorts) do
    group:start()
  end
  for _, group in ipairs(self.publishers) do
    group:start()
  end
  self.started_at = core.now()
  self.before_load = counted.snapshot(self)
  if self.how.on_start then self.how.on_start(self) end
end

---Does harm: runs `inflict`, and shades its time in the charts. What has the tag {since:fault} is counted
---from the beginning of the first one, and recovery is timed from there. Begins the load if it has not begun.
---@param label string   "server down"
---@param inflict fun()
---@async
function Context:fault(label, inflict)
  self:start()
  self.before_fault = self.before_fault or counted.snapshot(self)
  local fault = { label = label, from_s = core.now() - self.started_at }
  table.insert(self.faults, fault)
  self:say(label)
  inflict()
  fault.to_s = core.now() - self.started_at
end

---Loses every packet from and to the server's port while `during` runs: a cable pulled, nobody told. Only in
---a network of the run's own.
---@param during fun()
---@async
function Context:cut(during)
  network.cut(self.server.port)
  errors.finally(during, network.heal)
end

---Waits until so many of a cohort's clients are open.
---@param group wsb.Cohort
---@param share number              0 to 1
---@param timeout string|number
---@return boolean
---@async
function Context:await_open(group, share, timeout)
  local wanted = math.ceil(group.n * share)
  return (task.wait(function() return group:counts().clients_open >= wanted end,
    read_duration(timeout, "ctx:await_open")))
end

---Keeps a figure of the script's own, for recorded{name:NAME} in tables, thresholds and comparisons.
---@param name string
---@param value number
function Context:record(name, value)
  self.recorded[name] = value
end

---How many clients a second the server lets in when `n` of them come at once: connects a cohort of its own,
---and closes it again. Kept in ctx.capacity and recorded{name:capacity}.
---@param n integer
---@return number  handshakes a second
---@async
function Context:measure_capacity(n)
  self:say(("measuring how many clients a second come in, with %d"):format(n))
  local options = aimed(self, { connect_rate = 1e6, connect_timeout = "60s" }, "ctx:measure_capacity")
  self.workers = self.workers + 1
  local began = core.now()
  local group = cohort.start({ name = "capacity", n = n, faults = {}, options = options,
    where = "ctx:measure_capacity", shares = cohort.deal(n, cohort.per_process(), {}) },
    function(log) return self:log(log) end)
  local function opened()
    return group:counts().clients_opened
  end
  return errors.finally(function()
    -- Timed between two moments of the flow: what it takes to start a process is none of the server's.
    task.wait(function() return opened() > n / 10 or group:died() end, CAPACITY_S)
    local first, from = opened(), core.now()
    local up = group:connect()
    if up < n then
      errors.raise(errors.ENVIRONMENT, "ctx:measure_capacity: %d of %d clients came in: see the logs", up, n)
    end
    -- All in before we looked: it is at least as quick as that.
    if first == n then first, from = 0, began end
    self.capacity = (n - first) / (core.now() - from)
    self:record("capacity", self.capacity)
    return self.capacity
  end, function()
    task.shield(function()
      group:stop()
      group:close()
    end)
  end)
end

---A raw connection, to `url` or to the server: no byte has been sent. Raises nothing when it cannot be made;
---the first read says why.
-- For who says no more than wss://. A certificate that the server has made for itself cannot be verified.
local function usual_tls(self, host)
  local made_itself = self.server and not self.target and self.server.options.tls == "auto"
  self.tls_of[host] = self.tls_of[host] or self:tls { name = host, verify = not made_itself }
  return self.tls_of[host]
end

---How ctx:dial speaks TLS. What is dialled with the same one resumes sessions.
---@param options wsb.TlsOptions
---@return wsb.Tls
function Context:tls(options)
  local tls, why = core.tls(options)
  if not tls then errors.raise(errors.USAGE, "%s: give certificates in PEM", why) end
  return tls
end

---A raw connection, to `url` or to the server: no byte of it has been sent. Raises nothing when it cannot be
---made; the first read says why.
---@param url? string
---@param how? {tls: wsb.Tls|false|nil}  of a wss:// URL; false leaves TLS to the script
---@return wsb.Raw
---@async
function Context:dial(url, how)
  url = aimed(self, { url = url }, "ctx:dial").url
  local host, port, path, secure = raw.parse(url)
  if not host then errors.refuse("ctx:dial", url, "ws:// or wss://HOST:PORT/PATH") end
  local tls = how and how.tls
  if tls == nil and secure then tls = self.secure or usual_tls(self, host) end
  local client = raw.connect(host, port, path, tls or nil)
  table.insert(self.dialled, client)
  return client
end

---Starts a Redis of the run's own, which ends with it; or takes the one that the script's option `redis`
---names, which is only used. See wsb.Redis.
---@param options? wsb.RedisOptions
---@return wsb.Redis
---@async
function Context:redis(options)
  local taken, rest = take(options or {}, "ctx:redis",
    { cluster = "any", persistent = "any", output_buffer = "any" })
  local unknown = next(rest)
  if unknown then
    errors.raise(errors.SCRIPT, "ctx:redis.%s: no such field: %s", unknown,
      suggest.remedy(tostring(unknown), { "cluster", "persistent", "output_buffer" }))
  end
  local nodes = taken.cluster
  if nodes and (math.type(nodes) ~= "integer" or nodes < 3) then
    errors.refuse("ctx:redis.cluster", nodes, "3 nodes or more")
  end
  local url = self.opt.redis or ""
  local made
  if url ~= "" then
    made = redis.theirs(url)
  else
    made = redis.start(taken, self:log "redis")
  end
  table.insert(self.redises, made)
  return made
end

---Closes what ctx:dial has connected.
function Context:hang_up()
  for _, client in ipairs(self.dialled) do
    client:close()
  end
  self.dialled = {}
end

---Whether a message published now reaches a subscriber within `timeout`.
---@param timeout string|number
---@return boolean
---@return string? why  when it does not
---@async
function Context:probe(timeout)
  local seconds = read_duration(timeout, "ctx:probe")
  self.probes = self.probes + 1
  local number = PROBE_PUBLISHER + self.probes
  local groups = {}
  local function start(name, options)
    options = aimed(self, options, "ctx:probe", options.publish_rate ~= nil)
    local group = cohort.start({ name = name, n = 1, faults = {}, options = options, where = "ctx:probe",
      shares = { { clients = 1, source = 1 } } }, function(log) return self:log(log) end)
    table.insert(groups, group)
    group:connect()
    group:start()
    return group
  end
  return errors.finally(function()
    local listener = start("probe-listener", { counted_publisher = number })
    start("probe-publisher", { publisher = number, publish_rate = "50/s", publish_size = 64 })
    local seen = task.wait(function() return listener:counts().messages_received > 0 end, seconds)
    if seen then return true end
    return false, ("no message arrived within %s"):format(core.format("duration", seconds))
  end, function()
    task.shield(function()
      for _, group in ipairs(groups) do
        group:stop()
        group:close()
      end
    end)
  end)
end

---@param duration string|number
---@async
function Context:sleep(duration)
  task.sleep(read_duration(duration, "ctx:sleep"))
end

---Waits until `ready` returns something true, and returns that; nil and "timeout" when it took too long.
---@param ready fun(): any
---@param timeout? string|number
---@return any value
---@return string? why
---@async
function Context:wait(ready, timeout)
  return task.wait(ready, timeout and read_duration(timeout, "ctx:wait"))
end

---For commands: waits for SIGINT, SIGTERM or SIGHUP, which then end nothing by themselves. Raises status 69
---when the server ends before.
---@return integer signal
---@async
function Context:until_signal()
  local s = self.server
  local signal = task.await_signal(function() return s and not s:alive() end)
  if signal then return signal end
  errors.raise(errors.ENVIRONMENT, "server: %s: see its messages above", s and s.process:epitaph() or "none")
end

---A line of progress on stderr.
---@param text string
function Context:say(text)
  if self.how.progress then self.how.progress(text) end
end

---Ends every process of the run and removes its limit. Idempotent.
---@async
function Context:close()
  task.shield(function()
    self:hang_up()
    for _, group in ipairs(self.publishers) do
      group:close()
    end
    for _, group in ipairs(self.cohorts) do
      group:close()
    end
    for _, balancer in ipairs(self.balancers) do
      balancer:close()
    end
    for _, s in ipairs(self.servers) do
      if s:alive() then s.process:kill() end
      s:close()
    end
    for _, one in ipairs(self.redises) do
      one:close()
    end
  end)
end

return context
