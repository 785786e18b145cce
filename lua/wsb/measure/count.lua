-- What has been counted so far: by the servers, the cohorts, the publishers, and the kernel.

local core = require "wsb.core"

local count = {}

local HISTS = { cohort = { "fanout_lag", "connect_time", "reconnect_time", "session_time" },
  publisher = { "publish_lateness" } }

-- Sums of the kernel's own counters, by our name. It counts for a network namespace, not for a process.
local NETWORK = {
  { name = "syns", unit = "packets", of = { "ActiveOpens", "TCPSynRetrans" },
    help = "connection requests sent (SYN), with those that the kernel repeated" },
  { name = "syns_repeated", unit = "packets", of = { "TCPSynRetrans" },
    help = "connection requests that the kernel sent again because nothing answered" },
  { name = "kernel_accepts", unit = "connections", of = { "PassiveOpens" },
    help = "connections that the kernel completed for listening sockets, before any accept()" },
  { name = "accept_overflows", unit = "events", of = { "ListenOverflows" },
    help = "times a connection found the accept queue full" },
  { name = "listen_drops", unit = "packets", of = { "ListenDrops" },
    help = "packets that a listening socket dropped, overflows among them" },
}

---The rows of the kernel's counters, shaped like those of core.metrics().
---@return {role: "network", name: string, kind: "counter", unit: string, help: string}[]
function count.network_metrics()
  local rows = {}
  for i, row in ipairs(NETWORK) do
    rows[i] = { role = "network", name = row.name, kind = "counter", unit = row.unit, help = row.help }
  end
  return rows
end

---@return table<string, integer>  a counter that this kernel lacks is missing
function count.network()
  local kernel, counts = core.netstat(), {}
  for _, row in ipairs(NETWORK) do
    local sum = 0
    for _, name in ipairs(row.of) do
      sum = sum and kernel[name] and sum + kernel[name]
    end
    counts[row.name] = sum
  end
  return counts
end

local function add(into, counts)
  for name, value in pairs(counts) do
    into[name] = (into[name] or 0) + value
  end
end

local function add_closes(into, closes)
  for code, row in pairs(closes) do
    local old = into[code] or { sent = 0, seen = 0 }
    into[code] = { sent = old.sent + row.sent, seen = old.seen + row.seen }
  end
end

local function hists_of(groups, names)
  local hists = {}
  for _, name in ipairs(names) do
    hists[name] = core.hist()
    for _, group in ipairs(groups) do
      hists[name] = hists[name] + group:hist(name)
    end
  end
  return hists
end

---@class wsb.Counted
---@field server {counts: table<string, integer>, closes: table}   all servers together
---@field servers table<string, {counts: table<string, integer>, closes: table}>
---@field cohorts table<string, {n: integer, counts: table<string, integer>, closes: table, hists: table}>
---@field publishers {counts: table<string, integer>, hists: table<string, wsb.Hist>}
---@field network table<string, integer>

---All counters as they stand now.
---@param ctx wsb.Context
---@return wsb.Counted
function count.snapshot(ctx)
  local all = { server = { counts = {}, closes = {} }, servers = {}, cohorts = {}, network = count.network(),
    publishers = { counts = {}, hists = hists_of(ctx.publishers, HISTS.publisher) } }
  for _, server in ipairs(ctx.servers) do
    local one = { counts = server:counts(), closes = server:closes() }
    all.servers[server.name] = one
    add(all.server.counts, one.counts)
    add_closes(all.server.closes, one.closes)
  end
  for _, group in ipairs(ctx.cohorts) do
    all.cohorts[group.name] = { n = group.n, counts = group:counts(), closes = group:closes(),
      hists = hists_of({ group }, HISTS.cohort) }
  end
  for _, group in ipairs(ctx.publishers) do
    add(all.publishers.counts, group:counts())
  end
  return all
end

local function counts_since(now, before)
  local counts = {}
  for name, value in pairs(now) do
    counts[name] = value - (before[name] or 0)
  end
  return counts
end

local function closes_since(now, before)
  local closes = {}
  for code, row in pairs(now) do
    local old = before[code] or { sent = 0, seen = 0 }
    if row.sent > old.sent or row.seen > old.seen then
      closes[code] = { sent = row.sent - old.sent, seen = row.seen - old.seen }
    end
  end
  return closes
end

local function hists_since(now, before)
  local hists = {}
  for name, hist in pairs(now) do
    hists[name] = before[name] and hist - before[name] or hist
  end
  return hists
end

local NOTHING = { n = 0, counts = {}, closes = {}, hists = {} }

local function each_since(now, before)
  local all = {}
  for name, one in pairs(now) do
    local old = before[name] or NOTHING
    all[name] = { n = one.n, counts = counts_since(one.counts, old.counts),
      closes = closes_since(one.closes or {}, old.closes or {}),
      hists = hists_since(one.hists or {}, old.hists or {}) }
  end
  return all
end

---What was counted between two snapshots.
---@param now wsb.Counted
---@param before wsb.Counted
---@return wsb.Counted
function count.since(now, before)
  return { servers = each_since(now.servers, before.servers),
    cohorts = each_since(now.cohorts, before.cohorts),
    server = each_since({ all = now.server }, { all = before.server }).all,
    publishers = each_since({ all = now.publishers }, { all = before.publishers }).all,
    network = counts_since(now.network, before.network) }
end

return count
