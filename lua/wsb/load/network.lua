-- The network that a run uses: one of its own where it can be had, so that the kernel's counters are the
-- run's alone and its settings can be pinned; otherwise the machine's, and why.
--
--     enter -> (cut -> heal) ... -> leave
--
-- Enter before workers are started: they are born into the network of that moment.

local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"

local network = {}

network.PER_SOURCE = 14000 -- past this, connect() from one source address becomes slow
local NOT_FOUND = 127 -- the shell's status for a program that is not there
local CANNOT_TELL = 28232 -- the kernel's own range, 32768 to 60999

-- What can be pinned, by short name: the kernel keeps each per network namespace.
local KNOBS = {
  ip_local_port_range = "net.ipv4.ip_local_port_range",
  somaxconn = "net.core.somaxconn",
  tcp_abort_on_overflow = "net.ipv4.tcp_abort_on_overflow",
  tcp_max_syn_backlog = "net.ipv4.tcp_max_syn_backlog",
  tcp_syn_linear_timeouts = "net.ipv4.tcp_syn_linear_timeouts",
  tcp_syncookies = "net.ipv4.tcp_syncookies",
  tcp_tw_reuse = "net.ipv4.tcp_tw_reuse",
}

---@class wsb.Network
---@field private boolean             whether it is the run's own
---@field kind string                 "network namespace", "user and network namespace", "the machine's"
---@field why string?                 why it is the machine's
---@field sysctls table<string, string>  what is in force, by short name; one that this kernel lacks is absent
---@field pinned table<string, string>   those of them that were pinned

local current -- { private, kind, why, pinned, cuts }

local function knob_names()
  local names = {}
  for name in pairs(KNOBS) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function check_pins(sysctls)
  for name, value in pairs(sysctls) do
    if not KNOBS[name] then
      errors.refuse("network.sysctls", name, "one of " .. table.concat(knob_names(), ", "))
    end
    local accepted = name == "ip_local_port_range" and "^%d+ %d+$" or "^%d+$"
    if not tostring(value):find(accepted) then
      errors.refuse("network.sysctls." .. name, value,
        name == "ip_local_port_range" and "'LOWEST HIGHEST'" or "a whole number")
    end
  end
end

-- The kernel may take a value and keep another, so what counts is what it says afterwards.
local function pin(name, value)
  local path = "/proc/sys/" .. KNOBS[name]:gsub("%.", "/")
  local file, why = io.open(path, "w")
  local put = file
  if file then
    file:setvbuf "no" -- so that write tells what the kernel says
    put, why = file:write(value)
    file:close()
  end
  if not put then
    errors.raise(errors.ENVIRONMENT, "network: %s: cannot be set to %s: %s: leave it out, or change it",
      KNOBS[name], value, why:gsub("^/proc[^:]*: ", ""))
  end
  local kept = environment.knob(KNOBS[name])
  if kept ~= value then
    errors.raise(errors.ENVIRONMENT, "network: %s: the kernel made %s of %s: give what it accepts",
      KNOBS[name], kept or "nothing", value)
  end
end

local function pin_all(sysctls)
  for _, name in ipairs(knob_names()) do
    if sysctls[name] ~= nil then
      current.pinned[name] = tostring(sysctls[name])
      pin(name, current.pinned[name])
    end
  end
end

---Moves this process, and the workers it starts from now on, into a fresh network; each call into another
---one. Where that cannot be, it stays in the machine's, nothing is pinned, and network.describe says why.
---@param how? {private: boolean?, sysctls: table<string, string|integer>?}  private: false stays in the
---  machine's network, true makes it an error (status 69) when there can be no other
---@return wsb.Network
function network.enter(how)
  how = how or {}
  local sysctls = how.sysctls or {}
  check_pins(sysctls)
  local left, stuck = network.leave()
  local kind, why
  if how.private ~= false then kind, why = core.private_network() else why = "not asked for" end
  if not kind and how.private then
    errors.raise(errors.ENVIRONMENT, "private network: %s: `wsb doctor` tells how to make it so", why)
  end
  if not kind and not left then
    errors.raise(errors.ENVIRONMENT, "network: back to the machine's: %s: start wsb anew for it", stuck)
  end
  current = { private = kind ~= nil, kind = kind or "the machine's", why = why, pinned = {}, cuts = 0 }
  local pinned, err = pcall(pin_all, kind and sysctls or {})
  if not pinned then
    network.leave()
    error(err, 0)
  end
  return network.describe()
end

---The network of this moment.
---@return wsb.Network
function network.describe()
  local sysctls = {}
  for name, sysctl in pairs(KNOBS) do
    sysctls[name] = environment.knob(sysctl)
  end
  local now = current or { private = false, kind = "the machine's", pinned = {} }
  return { private = now.private, kind = now.kind, why = now.why, sysctls = sysctls, pinned = now.pinned }
end

-- What nft printed, its complaints too. Debian keeps it where an ordinary user's PATH does not lead.
local function run_nft(words)
  local pipe = assert(io.popen(("PATH=\"$PATH:/usr/sbin:/sbin\" nft %s 2>&1"):format(words)))
  local said = pipe:read("a")
  local ok, _, code = pipe:close()
  return ok, said:match "[^\n]+" or ("status %s"):format(code), code
end

---@return string? version  nil when there is no nft
function network.nft_version()
  local ok, said = run_nft "--version"
  return ok and said or nil
end

local function nft(commands, what)
  local ok, said, code = run_nft(("'%s'"):format(commands))
  if ok then return end
  if code == NOT_FOUND then
    errors.raise(errors.ENVIRONMENT, "%s: nft is missing: apt-get install nftables", what)
  end
  errors.raise(errors.ENVIRONMENT, "%s: nft: %s: see whether `nft list ruleset` works as root", what, said)
end

-- Dropped where they arrive, and not where they leave: a sender is told when its own packet is refused. Lines
-- that are there already change nothing.
local CUT = [[add table inet wsb; add set inet wsb cut { type inet_service; };
add chain inet wsb arriving { type filter hook input priority 0; };
flush chain inet wsb arriving;
add rule inet wsb arriving tcp dport @cut drop;
add rule inet wsb arriving tcp sport @cut drop;
add element inet wsb cut { %d }]]

---From now on every packet from and to this TCP port is lost, in both directions: nobody is told.
---@param port integer
function network.cut(port)
  local what = ("cutting port %s"):format(tostring(port))
  if math.type(port) ~= "integer" or port < 1 or port > 65535 then
    errors.refuse("network.cut", port, "a port, 1 to 65535")
  end
  if not current or not current.private then
    local why = current and current.why and (" (%s)"):format(current.why) or ""
    errors.raise(errors.ENVIRONMENT, "%s: only in a private network, and this is the machine's%s: "
      .. "ask for a private one; `wsb doctor` tells whether it can be had", what, why)
  end
  nft(CUT:format(port), what)
  current.cuts = current.cuts + 1
end

---Undoes every cut. What was sent meanwhile arrives when its sender repeats it.
function network.heal()
  if not current or current.cuts == 0 then return end
  nft("delete table inet wsb", "healing the network")
  current.cuts = 0
end

---Back to the machine's network. Who came through a user namespace cannot: then the private one stays, with
---its settings, and the next network.enter makes a fresh one.
---@return boolean left
---@return string? why
function network.leave()
  if not current then return true end
  if current.private then
    local left, why = core.own_network()
    if not left then return false, why end
  end
  current = nil
  return true
end

---The connections that one source address can have to one destination without slowing down: TIME_WAIT, which
---the kernel may use again, is not counted.
---@param per_source? integer  the most that are given to one; default 14,000
---@return integer
function network.ports(per_source)
  local low, high = (environment.knob(KNOBS.ip_local_port_range) or ""):match "^(%d+) (%d+)$"
  local range = low and tonumber(high) - tonumber(low) + 1 or CANNOT_TELL
  return math.min(range, per_source or network.PER_SOURCE)
end

---Raises status 69 when `n` connections to one address and port cannot be had from `sources` addresses.
---@param n integer
---@param per_source? integer  as network.ports
---@param sources? integer     source addresses in use; default as many as n needs at `per_source`
function network.check_ports(n, per_source, sources)
  per_source = per_source or network.PER_SOURCE
  sources = sources or math.max(1, (n + per_source - 1) // per_source)
  local each = network.ports(per_source)
  if n <= sources * each then return end
  errors.raise(errors.ENVIRONMENT, "ports: %d connections to one address and port wanted, %d available: %d "
    .. "from each of %d source address%s (net.ipv4.ip_local_port_range %s): use fewer clients, more sources, "
    .. "or a wider range", n, sources * each, each, sources, sources == 1 and "" or "es",
    environment.knob(KNOBS.ip_local_port_range) or "unknown")
end

return network
