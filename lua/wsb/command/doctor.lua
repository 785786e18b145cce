-- Whether this machine is ready for experiments; each line that is not OK names the command that mends it.

local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local network = require "wsb.load.network"

local doctor = {}

local WANTED_DESCRIPTORS, COMFORTABLE_DESCRIPTORS = 1024, 10000
local COMFORTABLE_PORTS = 20000
local COMFORTABLE_BACKLOG = 1024
local TRIAL_BYTES = 64 * 1024 * 1024

---@class wsb.Finding
---@field state "OK"|"WARN"|"FAIL"
---@field thing string
---@field found string
---@field remedy string?

local function finding(state, thing, found, remedy)
  return { state = state, thing = thing, found = found, remedy = state ~= "OK" and remedy or nil }
end

local function descriptors()
  local hard = core.descriptor_limit().hard
  local state = hard < WANTED_DESCRIPTORS and "FAIL" or hard < COMFORTABLE_DESCRIPTORS and "WARN" or "OK"
  return finding(state, "descriptors", ("%d a process"):format(hard),
    ("ulimit -Hn %d  (as root; for good: /etc/security/limits.conf)"):format(COMFORTABLE_DESCRIPTORS))
end

local function memory_limit()
  local limit, why = core.memory_limit(TRIAL_BYTES)
  local kind, parent = limit:kind(), limit:path():match("^(.+)/[^/]+$")
  limit:close()
  if kind ~= "RLIMIT_DATA" then return finding("OK", "memory limit", ("%s below %s"):format(kind, parent)) end
  return finding("WARN", "memory limit", "RLIMIT_DATA, which makes the allocator fail instead of killing: "
    .. (why or "no cgroup"), "run as root, or with cgroup v2: systemd-run --user --scope -p Delegate=yes "
    .. "wsb ...")
end

local function ports()
  local low, high = (environment.knob("net.ipv4.ip_local_port_range") or ""):match("^(%d+) (%d+)$")
  if not low then
    return finding("WARN", "local ports", "unknown", "cat /proc/sys/net/ipv4/ip_local_port_range")
  end
  local count = tonumber(high) - tonumber(low) + 1
  return finding(count < COMFORTABLE_PORTS and "WARN" or "OK", "local ports",
    ("%s to %s, %d for each address"):format(low, high, count),
    "sysctl -w net.ipv4.ip_local_port_range='16384 60999'")
end

local function loopback()
  local refused = core.listen_error("127.0.0.1", 0)
  return finding(refused and "FAIL" or "OK", "loopback", refused or "can be listened on", "ip link set lo up")
end

-- What may forbid user namespaces to an ordinary user, with the value that allows them.
local GATES = { { "kernel.apparmor_restrict_unprivileged_userns", "0" },
  { "kernel.unprivileged_userns_clone", "1" }, { "user.max_user_namespaces", "10000" },
  { "user.max_net_namespaces", "10000" } }

local function private_network_remedy()
  for _, gate in ipairs(GATES) do
    local value = environment.knob(gate[1])
    if value and (value == "0") ~= (gate[2] == "0") then
      return ("run as root, or sysctl -w %s=%s"):format(gate[1], gate[2])
    end
  end
  return "run as root, and in a container with CAP_SYS_ADMIN"
end

local function private_network()
  local kind, why = core.probe_network()
  if not kind then
    return finding("WARN", "private network", "none, so runs use the machine's: " .. why,
      private_network_remedy())
  end
  local how = kind == "network namespace" and "as root" or "through a user namespace"
  return finding("OK", "private network", "can be had " .. how)
end

local function nft()
  local version = network.nft_version()
  return finding(version and "OK" or "WARN", "nft", version or "missing, so no network can be cut",
    "apt-get install nftables")
end

local function somaxconn()
  local value = tonumber(environment.knob("net.core.somaxconn"))
  return finding((value or 0) < COMFORTABLE_BACKLOG and "WARN" or "OK", "accept queue",
    ("net.core.somaxconn %s"):format(value or "unknown"), "sysctl -w net.core.somaxconn=4096")
end

-- What one stalled reader may hide in the kernel, on both sides.
local function buffers()
  local send = tonumber((environment.knob("net.ipv4.tcp_wmem") or ""):match("(%d+)$"))
  local receive = tonumber((environment.knob("net.ipv4.tcp_rmem") or ""):match("(%d+)$"))
  if not send or not receive then
    return finding("WARN", "socket buffers", "unknown", "ls /proc/sys/net/ipv4")
  end
  return finding("OK", "socket buffers", ("at most %s to send, %s to receive (tcp_wmem, tcp_rmem)"):format(
    core.format("size", send), core.format("size", receive)))
end

local function clock()
  local source = environment.read(environment.CLOCK) or "unknown"
  local slow = source == "hpet" or source == "acpi_pm"
  return finding(slow and "WARN" or "OK", "clock", source, "echo tsc > " .. environment.CLOCK)
end

local function cores()
  local count = environment.cores()
  return finding(count < 2 and "WARN" or "OK", "cores", tostring(count),
    "use a machine with two: server and clients share one here, and the lag shows it")
end

local function libraries()
  local missing = {}
  for library, package in pairs { argparse = "lua-argparse", cjson = "lua-cjson", lfs = "lua-filesystem" } do
    if not pcall(require, library) then table.insert(missing, package) end
  end
  table.sort(missing)
  local names = table.concat(missing, " ")
  if #missing == 0 then return finding("OK", "Lua libraries", "all there") end
  return finding("FAIL", "Lua libraries", "missing " .. names, "apt-get install " .. names)
end

local CHECKS = { descriptors, memory_limit, loopback, private_network, nft, ports, somaxconn, buffers, clock,
  cores, libraries }

---@return wsb.Finding[]
function doctor.examine()
  local findings = {}
  for i, check in ipairs(CHECKS) do
    findings[i] = check()
  end
  return findings
end

---Prints one line a finding.
---@param print_line fun(line: string)
---@return boolean  whether experiments can run here
function doctor.report(print_line)
  local ready = true
  for _, f in ipairs(doctor.examine()) do
    ready = ready and f.state ~= "FAIL"
    print_line(("%-4s  %-15s  %s%s"):format(f.state, f.thing, f.found, f.remedy and ": " .. f.remedy or ""))
  end
  return ready
end

return doctor
