-- What a run left, as a row of the result. Everything is read while the processes' counters still can be.

local count = require "wsb.measure.count"
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

---The first server that ended without being asked to.
---@param ctx wsb.Context
---@return wsb.Server?
function collect.dead(ctx)
  for _, server in ipairs(ctx.servers) do
    if not server:alive() and not server.asked_to_end then return server end
  end
  return nil
end

local function doubt_dead_generators(ctx)
  for _, list in ipairs { ctx.cohorts, ctx.publishers } do
    for _, group in ipairs(list) do
      local how = group:died()
      if how then table.insert(ctx.doubts, ("the generator of %s died: %s"):format(group.name, how)) end
    end
  end
end

-- What the figures are made of: counted in all, and since the first fault.
local function data_of(ctx, samples)
  local now = count.snapshot(ctx)
  local messages = collect.offered(ctx)
  -- Closes of probes before the load are nobody's business, and the kernel counts from its beginning.
  local loaded = count.since(now, ctx.before_load or now)
  local data = { series = samples.series, rss_peak = samples.rss_peak, cohorts = now.cohorts,
    publishers = now.publishers, servers = now.servers, network = loaded.network,
    server = { counts = now.server.counts, closes = loaded.server.closes }, died = collect.dead(ctx) ~= nil,
    foreign = ctx.server.foreign, fault = ctx.faults[1], recorded = ctx.recorded }
  for _, group in pairs(data.cohorts) do
    group.expected, group.delivered = messages * group.n, collect.delivered(group.counts)
  end
  if ctx.before_fault then
    data.since_fault = count.since(now, ctx.before_fault)
    data.since_fault.series, data.since_fault.died = data.series, data.died
  end
  return data
end

-- Until the last client of all that come back was back.
local function recovery(ctx, data)
  local latest
  for _, group in ipairs(ctx.cohorts) do
    local key = ("recovery{cohort:%s}.p(100)"):format(group.name)
    local took = group:comes_back() and metrics.value(data, selector.parse(key, "outcome"))
    if took then latest = math.max(latest or 0, took) end
  end
  return latest
end

local function end_of_server(ctx, data)
  local server = collect.dead(ctx) or ctx.server
  local exit = server.process.exit
  local charged = server.limit and server.limit:read()
  local memory = data.series.server_memory or data.series.rss
  return outcome.of {
    exit = exit, asked = server.asked_to_end, at_s = exit and ctx.started_at and exit.at - ctx.started_at,
    charged = charged, refused_bytes = data.server.counts.memory_refused_bytes or 0,
    limit_kind = server.limit and server.limit:kind(), limit_bytes = server.limit_bytes,
    last_words = server.process:last_words(),
    flatness = memory and metrics.flatness(data.series.t, memory),
    recovery_s = recovery(ctx, data),
    watched_s = data.fault and data.series.t[#data.series.t] - data.fault.from_s,
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
  for _, fault in ipairs(ctx.faults) do
    table.insert(list, { label = fault.label, from_s = fault.from_s, to_s = fault.to_s or t[#t] or 0 })
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
    if data.foreign then counted.sent = nil end
    table.insert(list, counted)
  end
  table.sort(list, function(a, b) return a.code < b.code end)
  return list
end

local function counts_of(data)
  local counts = { server = data.server.counts, publishers = data.publishers.counts,
    network = data.network, cohorts = {} }
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
    series = samples.series, recovers = data.fault ~= nil, counts = counts_of(data), doubts = ctx.doubts,
    limit = ctx.server.limit and { kind = ctx.server.limit:kind(), bytes = ctx.server.limit_bytes,
      why = ctx.server.limit_why } }
end

return collect
