-- An experiment: its arms take turns, --repeat times, and what they left becomes one result.

local aim = require "wsb.aim"
local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"
local options = require "wsb.command.options"
local run = require "wsb.run"
local schema = require "wsb.command.schema"
local selector = require "wsb.measure.selector"
local specs = require "wsb.specs"
local task = require "wsb.base.task"
local threshold = require "wsb.judge.threshold"
local units = require "wsb.base.units"
local verdict = require "wsb.judge.verdict"

local experiment = {}

local MAX_LATENESS = "50ms"
local QUIET_BYTES, QUIET_S = 16 * 1024 * 1024, 5

---@class wsb.HowToRun
---@field chosen wsb.Chosen
---@field declared wsb.Declared[]
---@field times integer            runs per arm
---@field seed integer
---@field limit_kind "auto"|"cgroup"|"rlimit"
---@field network "auto"|"private"|"host"
---@field aim wsb.Aim?             at a server that is not wsb's
---@field command string           that replays it
---@field dir string               where logs go
---@field terminal wsb.Terminal

local function thresholds_of(spec, arm)
  local list = {}
  for metric, expressions in pairs((spec.thresholds or {})[arm.name] or {}) do
    if metric ~= "expect" then
      for i, expression in ipairs(expressions) do
        local where = ("thresholds.%s.%s[%d]"):format(arm.name, metric, i)
        table.insert(list, threshold.parse(metric, expression, where))
      end
    end
  end
  table.sort(list, function(a, b) return a.metric .. a.expression < b.metric .. b.expression end)
  return list
end

local function columns_of(texts)
  local list = {}
  for i, text in ipairs(texts or {}) do
    local s = selector.parse(text, ("compare[%d]"):format(i))
    list[i] = { metric = text, label = selector.label(s), unit = selector.unit(s),
      better = selector.better(s) }
  end
  return list
end

-- Everything that has to be measured, once each.
local function selectors_of(spec)
  local seen, list = {}, {}
  local function add(text)
    if not seen[text] then
      seen[text] = true
      table.insert(list, text)
    end
  end
  for _, field in ipairs { "compare", "columns" } do
    for _, text in ipairs(spec[field] or {}) do
      add(text)
    end
  end
  for _, arm in ipairs(spec.arms) do
    for _, t in ipairs(thresholds_of(spec, arm)) do
      add(t.selector.text)
    end
  end
  return list
end

-- Series that have to be sampled beside those that are always there, once each.
local function sampled_of(selectors, charts)
  local seen, list = {}, {}
  local function add(sampled)
    if sampled and not seen[sampled.key] then
      seen[sampled.key] = true
      table.insert(list, sampled)
    end
  end
  for _, text in ipairs(selectors) do
    add(selector.needs(selector.parse(text, "metric")))
  end
  for i, chart in ipairs(charts) do
    add(selector.series(chart.series, ("charts[%d].series"):format(i)))
  end
  return list
end

local DEFAULT_CHARTS = {
  { title = "Server memory: rss and kernel socket memory", series = "server_memory", unit = "bytes" },
  { title = "Bytes queued for clients", series = "queue_bytes", unit = "bytes" },
  { title = "Fan-out lag of healthy clients, p99 of each interval", series = "fanout_lag_p99",
    unit = "seconds", log = true },
  { title = "Slow clients", series = "slow_clients", unit = "count" },
}

local KINDS = { bytes = "size", seconds = "duration", count = "count" }

-- The lines of a chart, which may depend on options: then a function computes them.
local function lines_of(chart, opt, where)
  local lines = chart.lines or {}
  if type(lines) == "function" then
    lines = lines(opt)
    schema.check_lines(lines, where)
  end
  local read = {}
  for i, line in ipairs(lines) do
    local value, accepted = units.read(KINDS[chart.unit] or "count", line.value)
    if not value then errors.refuse(("%s[%d].value"):format(where, i), line.value, accepted) end
    read[i] = { value = value, label = line.label }
  end
  return read
end

local function charts_of(spec, opt)
  local charts = {}
  for i, chart in ipairs(spec.charts or DEFAULT_CHARTS) do
    charts[i] = { title = chart.title, series = chart.series, unit = chart.unit or "count",
      log = chart.log or false, lines = lines_of(chart, opt, ("charts[%d].lines"):format(i)) }
  end
  return charts
end

local function draw_limit(charts, limit)
  for _, chart in ipairs(charts) do
    if limit and (chart.series == "server_memory" or chart.series == "rss") then
      table.insert(chart.lines, { value = limit.bytes, label = "memory limit" })
    end
  end
end

-- What PROVEN means when the script does not say it.
local function claim_of(spec, arms)
  if spec.claim then return spec.claim end
  local treatments = {}
  for _, arm in ipairs(arms) do
    if arm.role == "treatment" and arm.expect == "pass" then table.insert(treatments, arm.name) end
  end
  if #treatments == 0 then return nil end
  local hold = #treatments == 1 and "holds its thresholds" or "hold their thresholds"
  return ("%s %s under the load under which %s fails."):format(table.concat(treatments, " and "), hold,
    arms[1].name)
end

local function arms_of(spec)
  local arms = {}
  for i, arm in ipairs(spec.arms) do
    local is_base = i == 1 and #spec.arms > 1
    local expect = ((spec.thresholds or {})[arm.name] or {}).expect or (is_base and "fail" or "pass")
    arms[i] = { name = arm.name, role = is_base and "base" or "treatment", expect = expect,
      options = specs.options_of(arm), runs = {} }
  end
  return arms
end

-- The kernel may hold the sockets of the last run a little longer; the next one starts without them.
local function wait_for_quiet(baseline)
  task.wait(function() return core.tcp_memory() <= baseline + QUIET_BYTES end, QUIET_S)
end

local function run_all(spec, arms, plan, times)
  local baseline = core.tcp_memory()
  for index = 1, times do
    for i, arm in ipairs(arms) do
      wait_for_quiet(baseline)
      plan.dir = ("%s/%s-%d"):format(plan.root, arm.name, index)
      plan.make_directory(plan.dir)
      plan.terminal:begin(arm.name, index, times)
      local row = run.once(plan, spec.arms[i], index, thresholds_of(spec, arm))
      plan.terminal:finish(row.outcome.text)
      table.insert(arm.runs, row)
    end
  end
end

---Runs every arm and returns the result (schema wsb.result/1), verdict included.
---@param spec table  a checked experiment
---@param how wsb.HowToRun
---@return table
---@async
function experiment.run(spec, how)
  spec = specs.resolved(how.aim and aim.experiment(spec) or spec, how.chosen)
  spec.arms = specs.chosen_arms(spec.arms, how.chosen.values.arms or "")
  local started, from = os.date("!%Y-%m-%dT%H:%M:%SZ"), core.now()
  local max_lateness, accepted = units.read("duration", spec.max_lateness or MAX_LATENESS)
  if not max_lateness then errors.refuse("max_lateness", spec.max_lateness, accepted) end
  local arms, charts = arms_of(spec), charts_of(spec, how.chosen.values)
  local selectors = selectors_of(spec)
  local plan = { spec = spec, opt = how.chosen.values, selectors = selectors,
    sampled = sampled_of(selectors, charts), limit_kind = how.limit_kind, network = how.network,
    aim = how.aim, seed = how.seed, root = how.dir, terminal = how.terminal,
    make_directory = how.make_directory }
  run_all(spec, arms, plan, how.times)
  local limit = arms[1].runs[1].limit
  draw_limit(charts, limit)
  local result = {
    schema = "wsb.result/1", name = spec.name, description = spec.description, command = how.command,
    started = started, duration_s = core.now() - from, seed = how.seed, ["repeat"] = how.times,
    options = options.describe(how.declared, how.chosen), environment = environment.describe(how.seed),
    verdict = (how.aim and verdict.of_one or verdict.decide)(arms, max_lateness),
    max_lateness_s = max_lateness, claim = claim_of(spec, arms),
    arms = arms, charts = charts, limit = limit, writeup = spec.writeup,
    comparison = columns_of(spec.compare), columns = columns_of(spec.columns or spec.compare),
    outcomes = { label = arms[1].runs[1].recovers and "did not recover" or "died within the run" },
  }
  if how.aim then aim.trim(result) end
  return result
end

return experiment
