-- The reference pages of `wsb help metrics` and `wsb help options`, made from the tables that are obeyed.

local core = require "wsb.core"
local format = require "wsb.report.format"
local options = require "wsb.command.options"
local selector = require "wsb.measure.selector"
local text = require "wsb.report.text"

local reference = {}

local SELECTORS = [[
compare and columns name a metric as NAME{TAG:VALUE}.AGGREGATE; tags may be left
out, and so may an aggregate that has a default:

    compare = { "server_memory.max", "fanout_lag{cohort:healthy}.p(99)" }

A threshold has name and tags as its key, and in its text the aggregate, one of
< <= > >= == != and a value with its unit (64KiB, 250ms, 99%, 10k):

    server_memory = { "max<64MiB", "flatness<10%" }, evictions_mark = { "<1" },
    ["fanout_lag{cohort:healthy}"] = { "p(99)<100ms" },

p(N) is any percentile; what was not delivered is infinitely late in it.
flatness is how far a series spreads over the second half of the run: medians of
ten spans, largest / smallest - 1. {since:fault} counts from the first ctx:fault
on; peak is the most in a second, each is divided by the clients. A chart's
series is a metric that is sampled, a counter or a gauge (of one cohort with
{cohort:NAME}), its growth a second (NAME.rate), or one of
received{cohort:NAME}, fanout_lag_p99, publish_lateness_p99.
]]

local TITLES = {
  series = "Of the server, sampled ten times a second",
  delivery = "Messages against the offered load",
  hist = "Times",
  recovery = "After a fault",
  recorded = "By the script",
  closes = "Close codes",
  counter = "Counters, over the run or since a fault",
}

-- Metrics that are asked for alike stand under one heading.
local function heading(kind)
  local aggregates, tags = selector.accepted(kind.aggregates), selector.accepted(kind.tags)
  local default = kind.default and (" (default %s)"):format(kind.default) or ""
  return TITLES[kind.family] .. "\naggregates: " .. table.concat(aggregates, ", ") .. default
    .. (tags[1] and "; tags: " .. table.concat(tags, ", ") or "")
end

local function unit_of(name, kind)
  local metric = selector.declared(name)
  if metric and kind.unit == "count" then return metric.unit end
  return kind.unit or kind.aggregates[kind.default]
end

local function add(groups, name)
  local kind = selector.kind(name)
  local title = heading(kind)
  if not groups[title] then
    groups[title] = { family = kind.family, title = title,
      columns = { { title = "name" }, { title = "unit" }, { title = "what it is" } }, rows = {} }
    table.insert(groups, groups[title])
  end
  table.insert(groups[title].rows,
    { { text = name }, { text = unit_of(name, kind) }, { text = selector.help(name) } })
end

local ORDER = { series = 1, delivery = 2, hist = 3, recovery = 4, closes = 5, counter = 6, recorded = 7 }

---Every metric, with its unit, the aggregates and tags it takes, and its sentence.
---@param width integer  columns
---@return string
function reference.metrics(width)
  local groups, page = {}, { SELECTORS }
  for _, name in ipairs(selector.names()) do
    add(groups, name)
  end
  table.sort(groups, function(a, b)
    if ORDER[a.family] ~= ORDER[b.family] then return ORDER[a.family] < ORDER[b.family] end
    return a.title < b.title
  end)
  for _, group in ipairs(groups) do
    table.insert(page, group.title .. "\n\n" .. text.table(group, width))
  end
  return format.plain(table.concat(page, "\n"))
end

local ROLES = {
  { role = "server", title = "Of the server: ctx:serve, which takes memory_limit too, and an arm's `server`;"
    .. "\nwhat is live also ctx.server:set" },
  { role = "swarm", title = "Of clients: ctx:clients (clients is its n), ctx:publish (publish_rate,\n"
    .. "publish_size, publish_duration are its rate, size, duration), an arm's `clients`" },
}

local function option_row(option)
  local help = option.choices and ("%s: %s"):format(option.help, table.concat(option.choices, ", "))
    or option.help
  return { { text = option.name }, { text = (option.type:gsub("_", " ")) },
    { text = option.default == "" and "none" or option.default },
    { text = option.live and "live" or "fixed" }, { text = help } }
end

---Every option of the server and of the swarm: type, default, whether it may change while running, sentence.
---@param width integer  columns
---@return string
function reference.options(width)
  local page = {}
  for i, of in ipairs(ROLES) do
    local spec = { columns = { { title = "name" }, { title = "type" }, { title = "default" },
      { title = "when" }, { title = "what it is" } }, rows = {} }
    for _, option in ipairs(core.options(of.role)) do
      if not options.is_hidden(option.name) then table.insert(spec.rows, option_row(option)) end
    end
    page[i] = of.title .. "\n\n" .. text.table(spec, width)
  end
  return table.concat(page, "\n")
end

return reference
