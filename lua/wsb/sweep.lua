-- Scripts of the kind `sweep`: the same thing measured at several points, for several arms.

local context = require "wsb.load.context"
local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"
local expected = require "wsb.judge.expected"
local format = require "wsb.report.format"
local network = require "wsb.load.network"
local options = require "wsb.command.options"
local points = require "wsb.command.points"
local run = require "wsb.run"
local specs = require "wsb.specs"
local schema = require "wsb.command.schema"
local suggest = require "wsb.command.suggest"
local task = require "wsb.base.task"

local sweep = {}

---@class wsb.SweepRun
---@field index integer    repetition
---@field point number
---@field values table<string, number>  by column; what was not measured is absent
---@field doubts string[]?
---@field network wsb.Network?

-- Points that the command line chose are its mistake when they are wrong.
local function points_of(raw, spec)
  local option = type(raw) == "string" and raw:match "^%$([%a_][%w_]*)$"
  if not option then return points.read(spec.over, "over.values", errors.SCRIPT) end
  return points.read(spec.over, "--" .. option:gsub("_", "-"), errors.USAGE)
end

local function columns_of(spec)
  local columns = {}
  for i, column in ipairs(spec.columns) do
    columns[i] = { name = column.name, label = column.label or column.name, unit = column.unit or "count",
      better = column.better }
  end
  return columns
end

local function over_of(spec, values)
  local over = spec.over
  return { name = over.name, label = over.label or over.name, unit = over.unit or "count",
    log = over.log or false, values = values }
end

-- What `measure` returned, when it is what the columns ask for.
local function checked(values, columns)
  if type(values) ~= "table" then errors.refuse("measure(ctx, point)", values, "a table of numbers") end
  local names = {}
  for i, column in ipairs(columns) do
    names[i] = column.name
  end
  for name, value in pairs(values) do
    local where = "measure(ctx, point)." .. tostring(name)
    if not suggest.contains(names, name) then
      errors.raise(errors.SCRIPT, "%s: no such column: %s", where, suggest.remedy(tostring(name), names))
    end
    if type(value) ~= "number" or value ~= value then errors.refuse(where, value, "a number") end
  end
  return values
end

-- One point of one arm, with servers, clients and network of its own.
local function once(plan, arm, point, index)
  local ctx = context.new { opt = plan.opt, arm = arm, seed = plan.seed + index - 1, log_dir = plan.dir,
    limit_kind = plan.limit_kind, progress = function(text) plan.terminal:say(text) end }
  return errors.finally(function()
    ctx.network = run.enter_network(plan)
    local values = checked(plan.spec.measure(ctx, point), plan.columns)
    return { index = index, point = point, values = values, network = ctx.network,
      doubts = ctx.doubts[1] and ctx.doubts or nil }
  end, function()
    task.shield(function()
      ctx:close()
      network.leave()
    end)
  end)
end

-- Figures as the report writes them, for a terminal.
local spelling = {
  value = function(value, unit) return format.plain(format.value(value, unit)) end,
  point = function(value, over) return format.plain(format.point(value, over)) end,
}

local function told(plan, values)
  local parts = {}
  for _, column in ipairs(plan.columns) do
    local value = values[column.name]
    if value then table.insert(parts, ("%s %s"):format(column.label, spelling.value(value, column.unit))) end
  end
  return table.concat(parts, ", ")
end

-- Repetitions stand outermost and arms innermost, so that whatever else the machine does meets all alike.
local function run_all(plan, over, arms)
  for index = 1, plan.times do
    for _, point in ipairs(over.values) do
      for i, arm in ipairs(arms) do
        plan.dir = ("%s/%s-%.10g-%d"):format(plan.root, arm.name, point, index)
        plan.make_directory(plan.dir)
        plan.terminal:begin(("%s at %s"):format(arm.name, spelling.point(point, over)), index, plan.times)
        local row = once(plan, plan.spec.arms[i], point, index)
        plan.terminal:finish(told(plan, row.values))
        table.insert(arm.runs, row)
      end
    end
  end
end

local function doubts_of(arms, over)
  local doubts = {}
  for _, arm in ipairs(arms) do
    for _, row in ipairs(arm.runs) do
      for _, doubt in ipairs(row.doubts or {}) do
        table.insert(doubts, ("%s at %s, run %d: %s"):format(arm.name,
          spelling.point(row.point, over), row.index, doubt))
      end
    end
  end
  return doubts
end

local function expectations_of(spec, result, opt)
  local list = spec.expect(expected.results(result, opt, spelling))
  schema.check_expectations(list, "expect(results)")
  return list
end

---Measures every point and returns the result (schema wsb.sweep/1), verdict included.
---@param spec table  a checked sweep
---@param how wsb.HowToRun
---@return table
---@async
function sweep.run(spec, how)
  local started, from = os.date("!%Y-%m-%dT%H:%M:%SZ"), core.now()
  local raw_values, opt, arms = spec.over.values, how.chosen.values, {}
  spec = specs.resolved(spec, how.chosen)
  spec.arms = specs.chosen_arms(spec.arms, opt.arms or "")
  for i, arm in ipairs(spec.arms) do
    arms[i] = { name = arm.name, options = specs.options_of(arm), runs = {} }
  end
  local over, columns = over_of(spec, points_of(raw_values, spec)), columns_of(spec)
  local plan = { spec = spec, opt = opt, columns = columns, times = how.times, seed = how.seed,
    limit_kind = how.limit_kind, network = how.network, root = how.dir, terminal = how.terminal,
    make_directory = how.make_directory }
  run_all(plan, over, arms)
  local result = {
    schema = "wsb.sweep/1", name = spec.name, description = spec.description, command = how.command,
    started = started, duration_s = core.now() - from, seed = how.seed, ["repeat"] = how.times,
    options = options.describe(how.declared, how.chosen), environment = environment.describe(how.seed),
    over = over, columns = columns, charts = spec.charts or {}, arms = arms,
    claim = spec.claim, writeup = spec.writeup,
  }
  result.expectations = expectations_of(spec, result, opt)
  result.verdict = expected.judge(result.expectations, doubts_of(arms, over))
  return result
end

return sweep
