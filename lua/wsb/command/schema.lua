-- What the table of a script may hold. One row per field; an unknown field is an error, not a surprise.

local errors = require "wsb.base.errors"
local suggest = require "wsb.command.suggest"

local schema = {}

local function typed(name, accepted)
  return function(value, where)
    if type(value) ~= name then errors.refuse(where, value, accepted) end
  end
end

local text = typed("string", "text")
local table_of_options = typed("table", "a table of options")
local fn = typed("function", "a function of ctx")

local function list_of(check)
  return function(value, where)
    typed("table", "a list")(value, where)
    for key, item in pairs(value) do
      if math.type(key) ~= "integer" then
        errors.raise(errors.SCRIPT, "%s.%s: not accepted: give a list", where, key)
      end
      check(item, ("%s[%d]"):format(where, key))
    end
  end
end

local function names_of(rows)
  local names = {}
  for name in pairs(rows) do
    table.insert(names, name)
  end
  return names
end

-- A table with the given fields, `required` ones present.
local function record(rows, required)
  return function(value, where)
    typed("table", "a table")(value, where)
    local prefix = where == "" and "" or where .. "."
    for name, item in pairs(value) do
      if not rows[name] then
        errors.raise(errors.SCRIPT, "%s%s: no such field: %s", prefix, name,
          suggest.remedy(tostring(name), names_of(rows)))
      end
      rows[name](item, prefix .. name)
    end
    for _, name in ipairs(required or {}) do
      if value[name] == nil then
        errors.raise(errors.SCRIPT, "%s%s: missing: it has to be there", prefix, name)
      end
    end
  end
end

local function step(value, where)
  if type(value) ~= "table" or type(value[1]) ~= "string" or type(value[2]) ~= "function" or #value ~= 2 then
    errors.raise(errors.SCRIPT, '%s: not accepted: give { "what is true", function(ctx) ... end }', where)
  end
end

local function scalar(value, where)
  if type(value) ~= "string" and type(value) ~= "number" then
    errors.refuse(where, value, "a number or text")
  end
end

local function flag(value, where)
  typed("boolean", "true or false")(value, where)
end

local function arm_thresholds(value, where)
  typed("table", "a table of metrics")(value, where)
  for metric, expressions in pairs(value) do
    local here = ("%s.%s"):format(where, metric)
    if metric ~= "expect" then
      list_of(text)(expressions, here)
    elseif expressions ~= "pass" and expressions ~= "fail" and expressions ~= "any" then
      errors.refuse(here, expressions, "pass, fail or any")
    end
  end
end

local function by_arm(value, where)
  typed("table", "a table by arm")(value, where)
  for arm, list in pairs(value) do
    arm_thresholds(list, ("%s.%s"):format(where, arm))
  end
end

local arm = record({ name = text, server = table_of_options, clients = table_of_options, optional = flag },
  { "name" })
local line_list = list_of(record({ value = scalar, label = text }, { "value", "label" }))

local function lines(value, where)
  if type(value) ~= "function" then line_list(value, where) end
end

local chart = record({ title = text, series = text, unit = text, log = flag, lines = lines },
  { "title", "series" })
local writeup = record { lever = text, why = text,
  alternatives = list_of(record({ name = text, effect = text }, { "name", "effect" })) }

local function texts(value, where)
  if type(value) == "string" or type(value) == "function" then return end
  list_of(text)(value, where)
  if #value == 0 then errors.refuse(where, "{}", "text, or a list of texts") end
end

local one_check = record({ name = text, sent = text, expected = texts, unless = fn, run = fn },
  { "name", "sent", "expected", "run" })

local COMMON = { name = text, description = text, categories = list_of(text), options = table_of_options }
local COMMAND = { run = fn }
local CHECKS = { checks = list_of(one_check), setup = fn }
local EXPERIMENT = { arms = list_of(arm), setup = fn, steady_state = list_of(step), workload = fn,
  rollbacks = list_of(step), network = table_of_options, thresholds = by_arm, compare = list_of(text),
  columns = list_of(text), target = text, charts = list_of(chart), claim = text, writeup = writeup,
  max_lateness = scalar }

local UNITS = { "count", "bytes", "seconds", "ratio" }

local function one_of(choices)
  return function(value, where)
    if not suggest.contains(choices, value) then
      errors.refuse(where, value, "one of " .. table.concat(choices, ", "))
    end
  end
end

local function points(value, where)
  if type(value) == "table" then
    list_of(scalar)(value, where)
  elseif type(value) ~= "string" then
    errors.refuse(where, value, 'a list, or "$name" of an option')
  end
end

local over = record({ name = text, label = text, values = points, unit = one_of(UNITS), log = flag },
  { "name", "values" })
local sweep_column = record({ name = text, label = text, unit = one_of(UNITS),
  better = one_of { "lower", "higher" } }, { "name" })
local sweep_chart = record({ title = text, column = text, log = flag }, { "title", "column" })
local expectation_list = list_of(record({ text = text, held = flag }, { "text" }))
local SWEEP = { over = over, arms = list_of(arm), network = table_of_options, measure = fn,
  columns = list_of(sweep_column), charts = list_of(sweep_chart), expect = fn, claim = text,
  writeup = writeup }

local function with_common(rows)
  local all = {}
  for _, source in ipairs { COMMON, rows } do
    for name, check in pairs(source) do
      all[name] = check
    end
  end
  return all
end

local command = record(with_common(COMMAND), { "name", "description", "run" })
local checks = record(with_common(CHECKS), { "name", "description", "checks" })
local experiment = record(with_common(EXPERIMENT), { "name", "description", "arms", "setup", "workload" })

local sweep = record(with_common(SWEEP),
  { "name", "description", "over", "arms", "measure", "columns", "expect" })

---Checks what a sweep's `expect` returned. Raises status 70.
---@param value any
---@param where string
function schema.check_expectations(value, where)
  expectation_list(value, where)
  if #value == 0 then errors.raise(errors.SCRIPT, "%s: none: give at least one", where) end
end

---Checks what a chart's function of lines returned. Raises status 70.
---@param value any
---@param where string
function schema.check_lines(value, where)
  line_list(value, where)
end

local function kind_of(spec)
  if spec.run then return command end
  if spec.checks then return checks end
  return (spec.measure or spec.over) and sweep or experiment
end

---Checks the shape of what a script returned. Raises status 70.
---@param spec any
function schema.check(spec)
  if type(spec) ~= "table" then
    errors.raise(errors.SCRIPT, "returns %s: it has to return a table", type(spec))
  end
  kind_of(spec)(spec, "")
  if spec.checks and #spec.checks == 0 then errors.raise(errors.SCRIPT, "checks: none: give at least one") end
  if spec.measure and #spec.arms < 1 then errors.raise(errors.SCRIPT, "arms: none: give at least one") end
  if spec.measure and #spec.columns < 1 then
    errors.raise(errors.SCRIPT, "columns: none: give at least one")
  end
  if spec.workload and #spec.arms < 2 then
    errors.raise(errors.SCRIPT, "arms: %d of them: give at least two, the failing one first", #spec.arms)
  end
  if not spec.name:find("^[%w_-]+$") then
    errors.refuse("name", spec.name, "letters, digits, - and _")
  end
end

return schema
