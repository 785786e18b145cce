local assert = require "luassert"
local t = require "harness"
local fake = require "lua.fake_core"
local threshold = require "wsb.judge.threshold"

local function parse(metric, expression)
  return threshold.parse(metric, expression, "thresholds.after")
end

local function refusal(metric, expression)
  local ok, err = pcall(parse, metric, expression)
  assert(not ok, "expected an error")
  assert.equal(70, err.exit)
  return err.message
end

t.test("each unit is read in the metric's own", function()
  assert.equal(64 * 1024 * 1024, parse("server_memory", "max<64MiB").bound)
  assert.equal(0.1, parse("fanout_lag{cohort:healthy}", "p(99)<100ms").bound)
  assert.equal(1, parse("delivered{cohort:healthy}", "ratio>=1").bound)
  assert.equal(0.1, parse("server_memory", "flatness<10%").bound)
  assert.equal(0, parse("slow_clients", "last==0").bound)
end)

t.test("spaces are allowed, and a counter needs no aggregate", function()
  assert.equal("<=", parse("queue_bytes", " max <= 1MiB ").operator)
  assert.equal("evictions_mark", parse("evictions_mark", ">=50").selector.name)
end)

t.test("junk is refused with where, what and how", function()
  assert.equal("thresholds.after: 'max 64MiB' is not accepted: give an aggregate, one of < <= > >= == != "
    .. "and a value, such as p(99)<100ms", refusal("server_memory", "max 64MiB"))
  assert.truthy(refusal("server_memory", "max<"):find("is not accepted", 1, true))
  assert.truthy(refusal("server_memory", "max=64MiB"):find("is not accepted", 1, true))
  assert.truthy(refusal("server_memory", "max<64Mib"):find("'64Mib' is not accepted: give a size", 1, true))
  assert.truthy(refusal("delivered", "ratio>=all"):find("give a ratio", 1, true))
  assert.truthy(refusal("server_memry", "max<1MiB"):find("did you mean server_memory?", 1, true))
  assert.truthy(refusal("server_memory", "p(99)<1MiB"):find("give one of", 1, true))
end)

local function data(lags, expected)
  return { series = {}, rss_peak = 0, died = false, publishers = { counts = {}, hists = {} }, cohorts = {
    healthy = { n = 1, expected = expected, delivered = #lags, counts = {}, closes = {},
      hists = { fanout_lag = fake.hist(lags) } } } }
end

t.test("a value on the bound holds for <= and not for <", function()
  local run = data({ 0.1 }, 1)
  assert.equal(true, threshold.judge(parse("fanout_lag", "p(99)<=100ms"), run).held)
  assert.equal(false, threshold.judge(parse("fanout_lag", "p(99)<100ms"), run).held)
end)

t.test("what was not delivered is infinitely late", function()
  local judged = threshold.judge(parse("fanout_lag{cohort:healthy}", "p(50)<1s"), data({ 0.001 }, 3))
  assert.equal(math.huge, judged.value)
  assert.equal("seconds", judged.unit)
  assert.equal(false, judged.held)
end)

t.test("a missing metric neither holds nor fails, and says why", function()
  local judged = threshold.judge(parse("fanout_lag{cohort:nobody}", "p(99)<1s"), data({}, 0))
  assert.is_nil(judged.held)
  assert.equal("no cohort is named nobody", judged.why)
end)
