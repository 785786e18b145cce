-- What a run left, as a row of the result. Everything is read while the processes' counters still can be.

local core = require "wsb.core"
local metrics = require "wsb.measure.metrics"
local outcome = require "wsb.measure.outcome"
local selector = require "wsb.measure.selector"
local threshold = require "wsb.judge.threshold"

local collect = {}

---@param ctx wsb.Context
---@return integer  messages whose time has come, over all publishers
function collect.offered(ctx)
  local sum = 0
  for _, publisher in ipairs(ctx.publishers) do
    sum = sum + (publisher:counts().publish_offered or 0)
  end
  return sum
end

---Messages that reached a cohort as they were sent, each counted once.
---@param counts table<string, integer>
---@return integer
function collect.delivered(counts)
  return counts.messages_received - counts.messages_duplicate - counts.messages_corrupt
end

local function doubt_dead_generators(ctx)
  for _, list in ipairs { ctx.cohorts, ctx.publishers } do
    for _, group in ipairs(list) do
      local how = group:died()
      if how then table.insert(ctx.doubts, ("the generator of %s died: %s"):format(group.name, how)) end
    end
  end
end

-- Closes after the load began: those of probes before it are nobody's business.
local function since(closes, before)
  local list = {}
  for code, row in pairs(closes) do
    local old = (before or {})[code] or { sent = 0, seen = 0 }
    if row.sent > old.sent or row.seen > old.seen then
      list[code] = { sent = row.sent - old.sent, seen = row.seen - old.seen }
    end
  end
  return list
end

local function data_of(ctx, samples)
  local messages = collect.offered(ctx)
  local server = ctx.server
  local data = { series = samples.series, rss_peak = samples.rss_peak, cohorts = {},
    publishers = { counts = {}, hists = {} }, died = not server:alive() and not server.asked_to_end,
    server = { counts = server:counts(), closes = since(server:closes(), ctx.closes_at_start) } }
  for _, group in ipairs(ctx.cohorts) do
    local counts = group:counts()
    data.cohorts[group.name] = { n = group.n, expected = messages * group.n,
      delivered = collect.delivered(counts), counts = counts, closes = group:closes(),
      hists = { fanout_lag = group:hist("fanout_lag"), connect_time = group:hist("connect_time") } }
  end
  local lateness = core.hist()
  for _, publisher in ipairs(ctx.publishers) do
    lateness = lateness + publisher:hist("publish_lateness")
    for name, value in pairs(publisher:counts()) do
      data.publishers.counts[name] = (data.publishers.counts[name] or 0) + value
    end
  end
  data.publishers.hists.publish_lateness = lateness
  return data
end

local function end_of_server(ctx, data)
  local server = ctx.server
  local exit = server.process.exit
  local charged = server.limit and server.limit:read()
  local memory = data.series.server_memory
  return outcome.of {
    exit = exit, asked = server.asked_to_end, at_s = exit and ctx.started_at and exit.at - ctx.started_at,
    charged = charged, refused_bytes = data.server.counts.memory_refused_bytes,
    limit_kind = server.limit and server.limit:kind(), limit_bytes = server.limit_bytes,
    last_words = server.process:last_words(),
    flatness = memory and metrics.flatness(data.series.t, memory),
  }
end

local function fingerprint(ctx, data)
  local counts, clients = data.publishers.counts, 0
  for _, group in ipairs(ctx.cohorts) do
    clients = clients + group.n
  end
  return { publish_offered = counts.publish_offered or 0, publish_bytes = counts.publish_bytes or 0,
    schedule_hash = ("%016x"):format(counts.publish_hash or 0), clients = clients,
    lateness_p99_s = data.publishers.hists.publish_lateness:percentile(99) or 0 }
end

local function windows(ctx, samples)
  local list, t = {}, samples.series.t
  for _, group in ipairs(ctx.cohorts) do
    for _, fault in ipairs(group.faults) do
      table.insert(list, { label = ("%d %s: %s"):format(group.n, group.name, fault.label),
        from_s = fault.from_s, to_s = math.min(fault.to_s or math.huge, t[#t] or 0) })
    end
  end
  return list
end

local function closes(data)
  local by_code, list = {}, {}
  local function row(code)
    by_code[code] = by_code[code] or { code = code, sent = 0, seen = 0 }
    return by_code[code]
  end
  for code, counted in pairs(data.server.closes) do
    row(code).sent = row(code).sent + counted.sent
  end
  for _, group in pairs(data.cohorts) do
    for code, counted in pairs(group.closes) do
      row(code).seen = row(code).seen + counted.seen
    end
  end
  for _, counted in pairs(by_code) do
    table.insert(list, counted)
  end
  table.sort(list, function(a, b) return a.code < b.code end)
  return list
end

local function counts_of(data)
  local counts = { server = data.server.counts, publishers = data.publishers.counts, cohorts = {} }
  for name, group in pairs(data.cohorts) do
    counts.cohorts[name] = group.counts
  end
  return counts
end

local function measured(selectors, data)
  local values = {}
  for _, text in ipairs(selectors) do
    values[text] = metrics.value(data, selector.parse(text, "metric"))
  end
  return values
end

---@param ctx wsb.Context
---@param samples wsb.Sampler
---@param selectors string[]
---@param thresholds wsb.Threshold[]
---@return table  a row of `runs` in the result
function collect.row(ctx, samples, selectors, thresholds)
  doubt_dead_generators(ctx)
  local data = data_of(ctx, samples)
  local judged = {}
  for i, t in ipairs(thresholds) do
    judged[i] = threshold.judge(t, data)
  end
  return { outcome = end_of_server(ctx, data), metrics = measured(selectors, data), thresholds = judged,
    closes = closes(data), fingerprint = fingerprint(ctx, data), windows = windows(ctx, samples),
    series = samples.series, counts = counts_of(data), doubts = ctx.doubts,
    limit = ctx.server.limit and { kind = ctx.server.limit:kind(), bytes = ctx.server.limit_bytes,
      why = ctx.server.limit_why } }
end

return collect
