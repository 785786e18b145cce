-- Metric selectors, `name{tag:value}.aggregate`: what a threshold or a comparison may ask of a run.
--
--     server_memory.max   queue_bytes.last   server_memory.flatness      a series of the server
--     fanout_lag{cohort:healthy}.p(99)   connect_time.mean               a histogram, seconds
--     delivered{cohort:healthy}.ratio   missing.count   expected.count   deliveries against the offered load
--     closes{code:1013}.sent   closes{code:1013,cohort:stalled}.seen     close codes
--     evictions_mark   messages_received{cohort:healthy}                 any counter of count.def
--     clients_started{cohort:herd,since:fault}.each   syns.peak          for each client; most in a second
--     recovery{cohort:herd}.p(95)                    from a fault until so many of the clients are back

local core = require "wsb.core"
local count = require "wsb.measure.count"
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
  recorded = "a figure of the script's own, by ctx:record",
  recovery = "from the first fault until so many per cent of a cohort's clients are open, and stay so",
}
local SERIES_AGGREGATES = { max = true, min = true, mean = true, last = true, flatness = true }
local HIST_AGGREGATES = { p = true, mean = true, max = true, count = true }

local declared -- by name; the tables behind it never change

-- Of count.def, and the kernel's.
local function declared_metrics()
  if declared then return declared end
  declared = {}
  for _, rows in ipairs { core.metrics(), count.network_metrics() } do
    for _, metric in ipairs(rows) do
      declared[metric.name] = metric
    end
  end
  return declared
end

---@param name string
---@return {role: string, name: string, kind: string, unit: string, help: string}?  also the kernel's
function selector.declared(name)
  return declared_metrics()[name]
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
      tags = { code = true, cohort = true, since = true } }
  end
  if name == "recorded" then
    return { family = "recorded", unit = "count", aggregates = { last = true }, tags = { name = true },
      default = "last" }
  end
  if name == "recovery" then
    return { family = "recovery", unit = "seconds", aggregates = { p = true }, tags = { cohort = true } }
  end
  local metric = selector.declared(name)
  if not metric then return nil end
  if metric.kind == "histogram" then
    return { family = "hist", unit = "seconds", aggregates = HIST_AGGREGATES,
      tags = { cohort = true, since = true } }
  end
  local unit = metric.unit == "bytes" and "bytes" or "count"
  if has_series(metric) then
    return { family = "series", unit = unit, aggregates = SERIES_AGGREGATES, default = "last", tags = {} }
  end
  local of_cohort = metric.role == "swarm" and not name:find("^publish_")
  local level = metric.kind == "gauge" or nil
  return { family = "counter", unit = unit, default = "last",
    aggregates = { last = true, each = of_cohort or nil, peak = not level or nil, min = level, max = level },
    tags = { since = true, cohort = of_cohort or nil, server = metric.role == "server" or nil } }
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
  local names = { closes = true, recorded = true, recovery = true }
  for _, source in ipairs { SERIES, DELIVERY } do
    for name in pairs(source) do
      names[name] = true
    end
  end
  for name in pairs(declared_metrics()) do
    names[name] = true
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
    if key == "since" and value ~= "fault" then
      fail(where, text, "since:%s is not accepted: give since:fault", value)
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

-- "name{a:1,b:2}", the tags in order.
local function written(name, tags)
  local pairs_of = {}
  for _, tag in ipairs(sorted_keys(tags)) do
    table.insert(pairs_of, ("%s:%s"):format(tag, tags[tag]))
  end
  return pairs_of[1] and ("%s{%s}"):format(name, table.concat(pairs_of, ",")) or name
end

---@class wsb.Sampled   -- what a series is sampled from
---@field key string     its name in the result: "clients_open{cohort:herd}", "syns.rate"
---@field name string    of count.def, or the kernel's
---@field tags table<string, string>
---@field rate boolean   how much it grew a second

---@param name string
---@param tags table<string, string>
---@param rate boolean
---@return wsb.Sampled
function selector.sampled(name, tags, rate)
  local of = { cohort = tags.cohort, server = tags.server }
  return { key = written(name, of) .. (rate and ".rate" or ""), name = name, tags = of, rate = rate }
end

---The series that a selector needs beside those that are always there.
---@param s wsb.Selector
---@return wsb.Sampled?
function selector.needs(s)
  if s.name == "recovery" then return selector.sampled("clients_open", s.tags, false) end
  local level = s.aggregate == "min" or s.aggregate == "max"
  level = level and selector.kind(s.name).family == "counter"
  return (level or s.aggregate == "peak") and selector.sampled(s.name, s.tags, not level) or nil
end

local ALWAYS = { fanout_lag_p99 = true, publish_lateness_p99 = true }

---Reads the series of a chart: NAME, NAME{TAG:VALUE}, and with .rate what a counter grew by in a second. nil
---for one that is always there.
---@param text string
---@param where string
---@return wsb.Sampled?
function selector.series(text, where)
  local head, rate = text:match("^(.-)(%.rate)$")
  head = head or text
  local name, tags = head:match("^([%w_]+)(%b{})$")
  name, tags = name or head, tags or "{}"
  if ALWAYS[head] or SERIES[head] or name == "received" then return nil end
  local metric = selector.declared(name)
  if not metric or metric.kind == "histogram" then
    fail(where, text, "no such series: %s", suggest.remedy(name, selector.names()))
  elseif not rate and has_series(metric) and tags == "{}" then
    return nil
  end
  local kind = { tags = { cohort = metric.role == "swarm" or nil, server = metric.role == "server" or nil } }
  return selector.sampled(name, read_tags(where, text, kind, tags:sub(2, -2)), rate ~= nil)
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
  ping_timeouts = true, closes_reset = true, syns = true, syns_repeated = true, accept_overflows = true,
  listen_drops = true, auth_wasted = true, clients_started = true, clients_lost = true,
  clients_expired = true, clients_refused = true, clients_answered = true, clients_given_up = true,
  clients_waiting = true, connections_abandoned = true }

---Which way is better; nil where neither is, as with evictions: they are what a fix does.
---@param s wsb.Selector
---@return "lower"|"higher"|nil
function selector.better(s)
  if HIGHER[s.name] then return "higher" end
  local family = selector.kind(s.name).family
  local times = family == "series" or family == "hist" or family == "recovery"
  return (LOWER[s.name] or times) and "lower" or nil
end

local LABELS = { server_memory = "server memory", rss = "rss", queue_bytes = "queued bytes",
  slow_clients = "slow clients", fanout_lag = "fan-out lag", delivered = "delivered", cpu = "server cpu",
  evictions_mark = "evicted at the mark", evictions_budget = "evicted by the budget",
  syns = "SYN", syns_repeated = "SYN repeated by the kernel", clients_started = "attempts",
  clients_expired = "attempts given up", clients_refused = "attempts refused",
  auth_started = "look-ups", auth_wasted = "look-ups wasted", accept_overflows = "accept queue overflows",
  recovery = "time to recover", messages_missed = "messages missed" }
local WORDS = { last = "at the end", peak = "a second at most",
  each = "a client" }

---What a table's head says: "fan-out lag p99 (healthy)".
---@param s wsb.Selector
---@return string
function selector.label(s)
  if s.name == "recorded" then return ((s.tags.name or "?"):gsub("_", " ")) end
  local words = { LABELS[s.name] or s.name:gsub("_", " ") }
  local aggregate = s.percent and ("p%g"):format(s.percent) or s.aggregate
  local plain = aggregate == "ratio" or aggregate == "count"
    or aggregate == "last" and selector.kind(s.name).family == "counter"
  if s.name == "recovery" then
    aggregate, plain = s.percent == 100 and "in full" or ("to %g %%"):format(s.percent), false
  end
  if not plain then table.insert(words, WORDS[aggregate] or aggregate) end
  for _, tag in ipairs(sorted_keys(s.tags)) do
    if tag ~= "since" then table.insert(words, ("(%s)"):format(s.tags[tag])) end
  end
  return table.concat(words, " ")
end

return selector
