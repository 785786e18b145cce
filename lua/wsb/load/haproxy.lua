-- A real HAProxy in front of servers: started in the foreground with a configuration of its own, asked
-- through its socket, ended. Clients reach it by plain ws; servers that have TLS are spoken to by TLS,
-- unverified.
--
--     start -> stats, cut, drain, disable, enable ... -> close
--        └──────────── exit at any time ─────────┘

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local lfs = require "lfs"
local program = require "wsb.load.program"
local task = require "wsb.base.task"

local haproxy = {}

local REPLY_S = 5
local PORTS = { from = 20000, to = 30000, attempts = 20 } -- below those that the kernel gives to clients
local MAXCONN = 50000
local SYSTEM_PATHS = ":/usr/local/sbin:/usr/sbin" -- which ordinary users do not have on theirs

---@class wsb.Balance
---@field servers wsb.Server[]     at least one
---@field balance ("roundrobin"|"leastconn"|"source"|"hash")?   hash: consistent, on a URL parameter
---@field parameter string?        which one: client
---@field cookie string?           name of the cookie that pins a client to its server; none when missing
---@field port integer?            a free one
---@field check string?            time between health checks, 200ms; two that fail in a row take a server out

---@class wsb.Haproxy
---@field url string               where clients connect
---@field port integer
---@field names string[]           of its servers, in order
---@field private service wsb.Service
---@field private dir string
---@field private socket string
local Haproxy = { __name = "wsb.Haproxy" }
Haproxy.__index = Haproxy

-- balance and hash-type lines.
local BALANCE = {
  roundrobin = "balance roundrobin",
  leastconn = "balance leastconn",
  source = "balance source\n  hash-type consistent",
  hash = "balance url_param %s\n  hash-type consistent",
}

local CONFIG = [[
global
  maxconn %d
  hard-stop-after 1s
  stats socket %s mode 600 level admin
defaults
  mode http
  option redispatch 1
  retries 3
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  timeout http-request 10s
  default-server check inter %s fall 2 rise 1
frontend clients
  bind 127.0.0.1:%d backlog 65535
  default_backend servers
backend servers
  %s
]]

-- A word of the configuration: anything else could be another line of it.
local function word(where, value)
  if type(value) ~= "string" or not value:find "^[%w_.-]+$" then
    errors.refuse(where, value, "letters, digits, and _ . -")
  end
  return value
end

local function configuration(how, port, socket)
  local balance = BALANCE[how.balance or "roundrobin"]
  if not balance then
    errors.refuse("ctx:haproxy.balance", how.balance, "roundrobin, leastconn, source or hash")
  end
  balance = balance:format(word("ctx:haproxy.parameter", how.parameter or "client"))
  local lines = { CONFIG:format(math.min(MAXCONN, core.descriptor_limit().hard // 2 - 100), socket,
    word("ctx:haproxy.check", how.check or "200ms"), port, balance) }
  if how.cookie then
    local name = word("ctx:haproxy.cookie", how.cookie)
    table.insert(lines, ("  cookie %s insert indirect nocache\n"):format(name))
  end
  for _, server in ipairs(how.servers) do
    local name = word("ctx:haproxy.servers", server.name)
    table.insert(lines, ("  server %s 127.0.0.1:%d%s%s\n"):format(name, server.port,
      how.cookie and " cookie " .. name or "", server.url:find "^wss:" and " ssl verify none" or ""))
  end
  return table.concat(lines)
end

local function find_program()
  for dir in ((os.getenv "PATH" or "") .. SYSTEM_PATHS):gmatch "[^:]+" do
    if lfs.attributes(dir .. "/haproxy", "mode") == "file" then return dir .. "/haproxy" end
  end
  errors.raise(errors.ENVIRONMENT, "haproxy: not found: apt-get install haproxy")
end

-- HAProxy does not say which port the kernel has chosen, so it is chosen here.
local function free_port()
  for _ = 1, PORTS.attempts do
    local port = math.random(PORTS.from, PORTS.to)
    if not core.listen_error("127.0.0.1", port) then return port end
  end
  errors.raise(errors.ENVIRONMENT, "haproxy: no free port from %d to %d: give one", PORTS.from, PORTS.to)
end

local function temporary_directory()
  local path = os.tmpname()
  os.remove(path)
  path = path .. ".haproxy"
  local made, why = lfs.mkdir(path)
  if not made then errors.raise(errors.ENVIRONMENT, "haproxy: %s: %s: set TMPDIR", path, why) end
  return path
end

local function write(path, text)
  local file, why = io.open(path, "w")
  if not file then errors.raise(errors.ENVIRONMENT, "haproxy: %s", why) end
  file:write(text)
  file:close()
end

local function remove(dir)
  for _, name in ipairs { "/haproxy.cfg", "/stats" } do
    os.remove(dir .. name)
  end
  lfs.rmdir(dir)
end

---@param how wsb.Balance
---@param log string?  file that it says its messages to
---@return wsb.Haproxy
---@async
function haproxy.start(how, log)
  local path = find_program()
  if #how.servers == 0 then errors.raise(errors.SCRIPT, "ctx:haproxy.servers: none: call ctx:serve first") end
  local port = how.port and how.port > 0 and how.port or free_port()
  local dir = temporary_directory()
  local self = setmetatable({ port = port, url = ("ws://127.0.0.1:%d/feed"):format(port), names = {},
    dir = dir, socket = dir .. "/stats" }, Haproxy)
  for i, server in ipairs(how.servers) do
    self.names[i] = server.name
  end
  local ok, err = xpcall(function()
    write(dir .. "/haproxy.cfg", configuration(how, port, self.socket))
    self.service = program.start { command = { path, "-db", "-f", dir .. "/haproxy.cfg" }, log = log,
      label = "haproxy", ready = ("127.0.0.1:%d"):format(port) }
  end, errors.handler)
  if ok then return self end
  remove(dir)
  error(err, 0)
end

---@return boolean
function Haproxy:alive()
  return self.service:alive()
end

---@return integer
function Haproxy:pid()
  return self.service:pid()
end

---Says a command on its socket ("show info"), and returns what it answers.
---@param text string
---@return string
---@async
function Haproxy:command(text)
  local dial, why = core.dial(self.socket)
  if not dial then errors.raise(errors.ENVIRONMENT, "haproxy: %s: %s", self.socket, why) end
  return errors.finally(function()
    local answer, state = {}, nil
    dial:send(text .. "\n")
    local over = task.wait(function()
      table.insert(answer, dial:take())
      state, why = dial:state()
      return state ~= "connecting" and state ~= "open"
    end, REPLY_S)
    if over and state == "end" then return table.concat(answer) end
    errors.raise(errors.ENVIRONMENT, "haproxy: no answer to '%s': %s", text, why or state)
  end, function() dial:close() end)
end

-- A command that answers nothing when it is done.
local function order(self, ...)
  local answer = self:command(string.format(...))
  if answer:find "%S" then errors.raise(errors.SCRIPT, "haproxy: %s", answer:match "^%s*(.-)%s*$") end
end

local FIGURES = { connections = "scur", most = "smax", total = "stot", peak = "rate_max", failed = "econ",
  redispatched = "wredis" }

local function split(line)
  local cells = {}
  for cell in (line .. ","):gmatch "([^,]*)," do
    cells[#cells + 1] = cell
  end
  return cells
end

---What `show stat` says of each server, by name. status: UP, DOWN, DRAIN, MAINT; connections: now; most: at a
---time; total: so far; peak: new ones in a second; failed: that could not be made; redispatched: handed to
---another because this one could not be reached.
---@return table<string, {status: string, connections: integer, most: integer, total: integer, peak: integer,
---  failed: integer, redispatched: integer}>
---@async
function Haproxy:stats()
  local column, all = {}, {}
  for line in self:command("show stat"):gmatch "[^\n]+" do
    local cells = split(line:gsub("^# ", ""))
    if not next(column) then
      for i, name in ipairs(cells) do
        column[name] = i
      end
    elseif cells[column.pxname] == "servers" and cells[column.svname] ~= "BACKEND" then
      local row = { status = cells[column.status]:match "^%u+" or "?" }
      for name, title in pairs(FIGURES) do
        row[name] = math.tointeger(tonumber(cells[column[title]])) or 0
      end
      all[cells[column.svname]] = row
    end
  end
  return all
end

---Cuts every connection to a server, which goes on living.
---@param server wsb.Server|string
---@async
function Haproxy:cut(server)
  order(self, "shutdown sessions server servers/%s", type(server) == "table" and server.name or server)
end

-- Commands of one line have to fit into HAProxy's buffer of 16 KiB.
local COMMANDS_A_LINE = 200

---Cuts `share` of all connections, taken at random: the servers are not asked.
---@param share number   0 to 1
---@return integer cut   how many that were
---@async
function Haproxy:lose(share)
  local ids = {}
  for id in self:command("show sess"):gmatch "(0x%x+): [^\n]- be=servers srv=[%w_.-]+ " do
    ids[#ids + 1] = id
  end
  local number = math.ceil(share * #ids)
  for i = 1, number do
    local j = math.random(i, #ids)
    ids[i], ids[j] = ids[j], ids[i]
  end
  for from = 1, number, COMMANDS_A_LINE do
    local last = math.min(number, from + COMMANDS_A_LINE - 1)
    self:command("shutdown session " .. table.concat(ids, ";shutdown session ", from, last))
  end
  return number
end

local function set_state(state)
  return function(self, server)
    order(self, "set server servers/%s state %s", type(server) == "table" and server.name or server, state)
  end
end

---Sends a server nobody new, but those whose cookie names it; who is there stays.
---@type fun(self: wsb.Haproxy, server: wsb.Server|string)
Haproxy.drain = set_state "drain"
---Sends it nobody at all; who is there stays.
---@type fun(self: wsb.Haproxy, server: wsb.Server|string)
Haproxy.disable = set_state "maint"
---@type fun(self: wsb.Haproxy, server: wsb.Server|string)
Haproxy.enable = set_state "ready"

---Ends it, with every connection through it, and removes its files. Idempotent.
function Haproxy:close()
  self.service:close()
  remove(self.dir)
end

return haproxy
