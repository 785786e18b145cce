-- Metric selectors, `name{tag:value}.aggregate`: what a threshold or a comparison may ask of a run.
--
--     server_memory.max   queue_bytes.last   server_memory.flatness      a series of the server
--     fanout_lag{cohort:healthy}.p(99)   connect_time.mean               a histogram, seconds
--     delivered{cohort:healthy}.ratio   missing.count   expected.count   deliveries against the offered load
--     closes{code:1013}.sent   closes{code:1013,cohort:stalled}.seen     close codes
--     evictions_mark   messages_received{cohort:healthy}                 any counter of count.def

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local suggest = require "wsb.command.suggest"

local selector = {}

---@class wsb.Selector
---@field text string
---@field name string
---@field tags table<string, string>
---@field aggregate string
---@field percent number?   of p(N)

-- Series that are not gauges of count.def. A server_memory is what a broadcast costs: user and kernel memory.
local SERIES = {
  server_memory = { unit = "bytes", help = "rss and the kernel memory of its sockets, together" },
  rss = { unit = "bytes", help = "resident memory of the server's process" },
  limit_usage = { unit = "bytes", help = "what its cgroup charges to the memory limit" },
  cpu = { unit = "ratio", help = "processor time of the server; 100% is one core" },
}
local DELIVERY = {
  delivered = { ratio = "ratio", count = "count" },
  missing = { count = "count" },
  expected = { count = "count" },
}
local HELP = {
  delivered = "messages that arrived, of those offered, also of those after the server's death",
  missing = "messages offered that did not arrive",
  expected = "messages offered, times the clients that should have them",
  closes = "connections closed: as the server sent, and as the clients saw",
}
local SERIES_AGGREGATES = { max = true, min = true, mean = true, last = true, flatness = true }
local HIST_AGGREGATES = { p = true, mean = true, max = true, count = true }

---@param name string
---@return {role: string, name: string, kind: string, unit: string, help: string}?  of count.def
function selector.declared(name)
  for _, metric in ipairs(core.metrics()) do
    if metric.name == name then return metric end
  end
  return nil
end

---The sentence that explains a metric.
---@param name string
---@return string
function selector.help(name)
  local metric = selector.declared(name)
  return HELP[name] or SERIES[name] and SERIES[name].help or metric and metric.help or ""
end

local function has_series(metric)
  return metric.role == "server" and metric.kind == "gauge"
end

---What a name is, which aggregates and tags it takes, and its aggregate when none is written.
---@param name string
---@return {family: string, unit: string?, aggregates: table, tags: table, default: string?}?
function selector.kind(name)
  if SERIES[name] then
    return { family = "series", unit = SERIES[name].unit, aggregates = SERIES_AGGREGATES, tags = {} }
  end
  if DELIVERY[name] then
    return { family = "delivery", aggregates = DELIVERY[name], tags = { cohort = true },
      default = name == "delivered" and "ratio" or "count" }
  end
  if name == "closes" then
    return { family = "closes", unit = "count", aggregates = { sent = true, seen = true },
      tags = { code = true, cohort = true } }
  end
  local metric = selector.declared(name)
  if not metric then return nil end
  if metric.kind == "histogram" then
    return { family = "hist", unit = "seconds", aggregates = HIST_AGGREGATES, tags = { cohort = true } }
  end
  local unit = metric.unit == "bytes" and "bytes" or "count"
  if has_series(metric) then
    return { family = "series", unit = unit, aggregates = SERIES_AGGREGATES, default = "last", tags = {} }
  end
  local of_cohort = metric.role == "swarm" and not name:find("^publish_")
  return { family = "counter", unit = unit, aggregates = { last = true }, default = "last",
    tags = of_cohort and { cohort = true } or {} }
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do
    table.insert(keys, key == "p" and "p(99)" or key)
  end
  table.sort(keys)
  return keys
end

---The names in the `aggregates` or `tags` of selector.kind, as one writes them, sorted.
---@param names table<string, any>
---@return string[]
function selector.accepted(names)
  return sorted_keys(names)
end

---Every metric name there is, sorted.
---@return string[]
function selector.names()
  local names = { closes = true }
  for _, source in ipairs { SERIES, DELIVERY } do
    for name in pairs(source) do
      names[name] = true
    end
  end
  for _, metric in ipairs(core.metrics()) do
    names[metric.name] = true
  end
  return sorted_keys(names)
end

local function fail(where, text, format, ...)
  errors.raise(errors.SCRIPT, "%s: '%s': %s", where, text, format:format(...))
end

local function read_tags(where, text, kind, written)
  local tags = {}
  for pair in written:gmatch("[^,]+") do
    local key, value = pair:match("^%s*([%w_]+)%s*:%s*([%w_.-]+)%s*$")
    if not key or not kind.tags[key] then
      local accepted = table.concat(sorted_keys(kind.tags), ", ")
      fail(where, text, "tag '%s' is not accepted: give %s", pair, accepted == "" and "none" or accepted)
    end
    tags[key] = value
  end
  return tags
end

---Reads a selector; raises a script error that names what is accepted.
---@param text string
---@param where string  for the message: "compare[1]"
---@return wsb.Selector
function selector.parse(text, where)
  local name, tags, rest = text:match("^([%w_]+)(%b{})(.*)$")
  if not name then
    name, rest = text:match("^([%w_]+)(.*)$")
  end
  local kind = name and selector.kind(name)
  if not kind then
    fail(where, text, "no such metric: %s", suggest.remedy(name or text, selector.names()))
  end
  local aggregate, percent = rest:match("^%.(%a+)%(([%d.]+)%)$")
  if not aggregate then
    aggregate = rest == "" and kind.default or rest:match("^%.(%a+)$")
  end
  local wants_percent = aggregate == "p"
  if not aggregate or not kind.aggregates[aggregate] or wants_percent ~= (tonumber(percent) ~= nil)
    or (tonumber(percent) or 0) > 100 then
    local accepted = sorted_keys(kind.aggregates)
    fail(where, text, "give one of %s after the name, such as %s.%s", table.concat(accepted, ", "), name,
      accepted[1])
  end
  return { text = text, name = name, tags = read_tags(where, text, kind, (tags or "{}"):sub(2, -2)),
    aggregate = aggregate, percent = tonumber(percent) }
end

---@param s wsb.Selector
---@return "bytes"|"seconds"|"ratio"|"count"
function selector.unit(s)
  local kind = selector.kind(s.name)
  if s.aggregate == "flatness" then return "ratio" end
  if kind.family == "delivery" then return kind.aggregates[s.aggregate] end
  if s.aggregate == "count" then return "count" end
  return kind.unit
end

local HIGHER = { delivered = true, messages_received = true, frames_written = true, clients_open = true,
  clients_opened = true, connections_open = true, connections_upgraded = true, publish_sent = true }
local LOWER = { missing = true, deliveries_dropped = true, gaps_told = true, messages_missed = true,
  messages_duplicate = true, messages_reordered = true, messages_corrupt = true, clients_failed = true,
  publish_failed = true, connections_timed_out = true, accept_pauses = true, protocol_errors = true,
  ping_timeouts = true, closes_reset = true }

---Which way is better; nil where neither is, as with evictions: they are what a fix does.
---@param s wsb.Selector
---@return "lower"|"higher"|nil
function selector.better(s)
  if HIGHER[s.name] then return "higher" end
  local family = selector.kind(s.name).family
  return (LOWER[s.name] or family == "series" or family == "hist") and "lower" or nil
end

local LABELS = { server_memory = "server memory", rss = "rss", queue_bytes = "queued bytes",
  slow_clients = "slow clients", fanout_lag = "fan-out lag", delivered = "delivered", cpu = "server cpu",
  evictions_mark = "evicted at the mark", evictions_budget = "evicted by the budget" }
local WORDS = { last = "at the end" }

---What a table's head says: "fan-out lag p99 (healthy)".
---@param s wsb.Selector
---@return string
function selector.label(s)
  local words = { LABELS[s.name] or s.name:gsub("_", " ") }
  local aggregate = s.percent and ("p%g"):format(s.percent) or s.aggregate
  if aggregate ~= "ratio" and aggregate ~= "count" and selector.kind(s.name).family ~= "counter" then
    table.insert(words, WORDS[aggregate] or aggregate)
  end
  for _, tag in ipairs(sorted_keys(s.tags)) do
    table.insert(words, ("(%s)"):format(s.tags[tag]))
  end
  return table.concat(words, " ")
end

return selector
