local assert = require "luassert"
local t = require "harness"
local fake = require "lua.fake_core"
local metrics = require "wsb.measure.metrics"
local selector = require "wsb.measure.selector"

local function cohort(n, offered, lags, counts)
  counts.messages_received = counts.messages_received or #lags
  return { n = n, expected = n * offered, delivered = counts.messages_received, counts = counts,
    hists = { fanout_lag = fake.hist(lags), connect_time = fake.hist { 0.01 } }, closes = {} }
end

local function data()
  local d = {
    series = { t = {}, server_memory = {}, queue_bytes = {}, slow_clients = { 0, 3, 1 },
      cpu = { 0 / 0, 0.2, 0.4 } },
    rss_peak = 900, died = false,
    server = { counts = { queue_bytes_peak = 700, slow_clients_peak = 5, evictions_mark = 50 },
      closes = { [1013] = { sent = 50, seen = 0 }, [1000] = { sent = 2, seen = 0 } } },
    cohorts = { healthy = cohort(2, 3, { 0.001, 0.002, 0.003, 0.004, 0.005, 0.006 }, {}),
      stalled = cohort(1, 3, { 0.5 }, { gaps_told = 2 }) },
    publishers = { counts = { publish_offered = 3 }, hists = { publish_lateness = fake.hist { 0.02 } } },
  }
  for i = 0, 20 do
    table.insert(d.series.t, i / 10)
    table.insert(d.series.server_memory, 100 + i)
    table.insert(d.series.queue_bytes, 600)
  end
  d.cohorts.stalled.closes[1013] = { sent = 0, seen = 7 }
  return d
end

local function value(text, d)
  return metrics.value(d or data(), selector.parse(text, "here"))
end

t.test("a series: max, min, mean, last", function()
  assert.equal(120, value("server_memory.max"))
  assert.equal(100, value("server_memory.min"))
  assert.equal(110, value("server_memory.mean"))
  assert.equal(120, value("server_memory.last"))
  assert.equal(1, value("slow_clients"))
end)

t.test("a peak that the process kept itself counts, also between two samples", function()
  assert.equal(700, value("queue_bytes.max"))
  assert.equal(5, value("slow_clients.max"))
end)

t.test("samples without a value are left out", function()
  assert.equal(0.4, value("cpu.max"))
  assert.is_true(math.abs(value("cpu.mean") - 0.3) < 1e-9)
end)

t.test("a metric without samples is missing", function()
  local v, why = value("rss.max")
  assert.is_nil(v)
  assert.equal("no sample of it", why)
end)

local function flat(values)
  local times = {}
  for i = 1, #values do
    times[i] = i
  end
  return metrics.flatness(times, values)
end

local function series(fn)
  local values = {}
  for i = 1, 200 do
    values[i] = fn(i)
  end
  return values
end

t.test("flatness looks at the second half only", function()
  assert.equal(0, flat(series(function(i) return i < 100 and i or 100 end)))
end)

t.test("flatness leaves out single spikes and sees slopes and steps", function()
  assert.equal(0, flat(series(function(i) return i % 10 == 0 and 500 or 100 end)))
  local slope = flat(series(function(i) return 100 + i end))
  assert.is_true(slope > 0.4 and slope < 0.5)
  assert.is_true(math.abs(flat(series(function(i) return i < 150 and 100 or 120 end)) - 0.2) < 1e-9)
end)

t.test("flatness needs samples in every span", function()
  assert.is_nil(flat { 1, 1, 1, 1 })
  assert.is_nil(flat {})
  assert.is_nil(metrics.flatness({ 1, 2, 3 }, { 1 }))
end)

t.test("a server that died was not flat", function()
  local d = data()
  d.died = true
  assert.equal(math.huge, value("server_memory.flatness", d))
end)

t.test("delivery is counted against what was offered", function()
  assert.equal(1, value("delivered{cohort:healthy}.ratio"))
  assert.is_true(math.abs(value("delivered{cohort:stalled}") - 1 / 3) < 1e-9)
  assert.equal(2, value("missing{cohort:stalled}.count"))
  assert.equal(9, value("expected.count"))
  assert.equal(7, value("delivered.count"))
end)

t.test("percentiles count the missing as infinitely late", function()
  assert.equal(0.006, value("fanout_lag{cohort:healthy}.p(99)"))
  assert.equal(math.huge, value("fanout_lag{cohort:stalled}.p(99)"))
  assert.equal(math.huge, value("fanout_lag{cohort:stalled}.max"))
  assert.equal(0.5, value("fanout_lag{cohort:stalled}.p(33.3)"))
  assert.equal(0.01, value("connect_time{cohort:stalled}.p(99)"))
end)

t.test("the publishers' histogram is not the cohorts'", function()
  assert.equal(0.02, value("publish_lateness.max"))
end)

t.test("counters: of the server, of the publishers, of one cohort or all", function()
  assert.equal(50, value("evictions_mark"))
  assert.equal(3, value("publish_offered"))
  assert.equal(6, value("messages_received{cohort:healthy}"))
  assert.equal(7, value("messages_received"))
  assert.equal(0, value("gaps_told{cohort:healthy}"))
end)

t.test("close codes: sent by the server, seen by a cohort", function()
  assert.equal(50, value("closes{code:1013}.sent"))
  assert.equal(52, value("closes.sent"))
  assert.equal(7, value("closes{code:1013,cohort:stalled}.seen"))
  assert.equal(0, value("closes{code:1013,cohort:healthy}.seen"))
end)

t.test("a cohort that is not there makes the metric missing", function()
  for _, text in ipairs { "delivered{cohort:x}", "fanout_lag{cohort:x}.mean", "gaps_told{cohort:x}" } do
    local v, why = value(text)
    assert.is_nil(v)
    assert.equal("no cohort is named x", why)
  end
end)

local function refusal(text)
  local ok, err = pcall(selector.parse, text, "compare[1]")
  assert(not ok, text .. ": expected an error")
  assert.equal(70, err.exit)
  return err.message
end

t.test("an unknown selector names candidates", function()
  assert.equal("compare[1]: 'server_memry.max': no such metric: did you mean server_memory?",
    refusal "server_memry.max")
  assert.truthy(refusal "zzz.max":find("use one of ", 1, true))
  assert.truthy(refusal "server_memory":find("give one of flatness, last, max, mean, min", 1, true))
  assert.truthy(refusal "fanout_lag.p":find("p(99)", 1, true))
  assert.truthy(refusal "fanout_lag.p(101)":find("p(99)", 1, true))
  assert.truthy(refusal "server_memory{cohort:x}.max":find("give none", 1, true))
  assert.truthy(refusal "fanout_lag{kohort:x}.p(99)":find("give cohort", 1, true))
  assert.truthy(refusal "":find("no such metric", 1, true))
end)

t.test("units, labels and which way is better", function()
  local function parse(text) return selector.parse(text, "here") end
  assert.equal("bytes", selector.unit(parse "server_memory.max"))
  assert.equal("ratio", selector.unit(parse "server_memory.flatness"))
  assert.equal("seconds", selector.unit(parse "fanout_lag.p(99)"))
  assert.equal("count", selector.unit(parse "fanout_lag.count"))
  assert.equal("ratio", selector.unit(parse "delivered.ratio"))
  assert.equal("count", selector.unit(parse "evictions_mark"))
  assert.equal("higher", selector.better(parse "delivered.ratio"))
  assert.equal("lower", selector.better(parse "queue_bytes.max"))
  assert.equal("fan-out lag p99 (healthy)", selector.label(parse "fanout_lag{cohort:healthy}.p(99)"))
  assert.equal("slow clients at the end", selector.label(parse "slow_clients.last"))
  assert.equal("evicted at the mark", selector.label(parse "evictions_mark"))
  assert.is_nil(selector.better(parse "evictions_mark"))
end)
