-- The result of a sweep: a table for each thing measured, with a row a point and a column an arm, and charts
-- along what is swept; the same on a terminal, in report.md and in report.html.

local arms = require "wsb.report.arms"
local chart = require "wsb.report.chart"
local csv = require "wsb.report.csv"
local expected = require "wsb.judge.expected"
local format = require "wsb.report.format"
local html = require "wsb.report.html"
local markdown = require "wsb.report.markdown"
local method = require "wsb.report.method"
local model = require "wsb.report.model"
local scale = require "wsb.report.scale"
local stats = require "wsb.judge.stats"
local tables = require "wsb.report.tables"
local text = require "wsb.report.text"

local report = {}

---@class wsb.report.Sheet
---@field name string
---@field description string
---@field facts string[]
---@field verdict {word: string, sign: string, tone: string, statement: string, reasons: string[]}
---@field charts wsb.report.Chart[]
---@field charts_title string
---@field wide_charts boolean  each takes the width of the page
---@field legend string
---@field tables wsb.report.Table[]    what was found
---@field writeup table?
---@field appendix wsb.report.Table[]  how, and where
---@field command string

local function values_at(arm, point, column)
  local values = {}
  for _, run in ipairs(arm.runs) do
    if run.point == point then
      values[#values + 1] = format.number(run.values[column.name])
    end
  end
  return values
end

local BETTER = { lower = "less", higher = "more" }

local function notes_of(result, column)
  local notes = {}
  if result["repeat"] > 1 then
    notes[1] = ("Medians of %s (least–most)."):format(format.plural(result["repeat"], "run"))
  end
  if column.better then
    notes[#notes + 1] = BETTER[column.better] .. " is better"
    notes[#notes] = notes[#notes]:gsub("^%l", string.upper) .. "."
  end
  return notes[1] and { table.concat(notes, " ") }
end

local function table_of(result, column)
  local spec = { id = "of-" .. column.name, title = column.label, columns = { { title = result.over.label } },
    rows = {}, notes = notes_of(result, column) }
  spec.title = spec.title:gsub("^%l", string.upper)
  for i, arm in ipairs(result.arms) do
    spec.columns[i + 1] = { title = arm.name, numeric = true }
  end
  for i, point in ipairs(result.over.values) do
    local row = { { text = format.value(point, result.over.unit) } }
    for place, arm in ipairs(result.arms) do
      row[place + 1] = { text = arms.summary(values_at(arm, point, column), column.unit) }
    end
    spec.rows[i] = row
  end
  return spec
end

local function expectations_of(result)
  local rows = {}
  for i, one in ipairs(result.expectations) do
    local tone = one.held ~= nil and (one.held and "good" or "bad") or nil
    rows[i] = { { text = one.text }, { text = expected.word(one.held), tone = tone } }
  end
  return { id = "expectations", title = "What was expected", rows = rows,
    columns = { { title = "expectation" }, { title = "outcome" } } }
end

-- Along the points what one repetition measured, or the median of all.
local function trace_of(arm, style, result, column, index)
  local points, any = {}, false
  for i, point in ipairs(result.over.values) do
    local value = stats.median(values_at(arm, point, column))
    if index then
      value = nil
      for _, run in ipairs(arm.runs) do
        if run.index == index and run.point == point then
          value = format.number(run.values[column.name])
        end
      end
    end
    any = any or value ~= nil
    points[i] = value and { point, value } or false
  end
  return any and { arm = arm.name, style = style, bold = not index, dots = not index, points = points } or nil
end

local function traces_of(result, column)
  local traces = {}
  for style, arm in ipairs(result.arms) do
    for index = 1, result["repeat"] > 1 and result["repeat"] or 0 do
      traces[#traces + 1] = trace_of(arm, style, result, column, index)
    end
    traces[#traces + 1] = trace_of(arm, style, result, column)
  end
  return traces
end

local function charts_of(result)
  local columns, axis, made = {}, scale.points(result.over), {}
  for _, column in ipairs(result.columns) do
    columns[column.name] = column
  end
  for _, spec in ipairs(result.charts) do
    local column = columns[spec.column]
    local traces = traces_of(result, column)
    if traces[1] then
      made[#made + 1] = chart.plot({ title = spec.title, unit = column.unit, log = spec.log }, axis, traces)
    end
  end
  return made
end

local function facts_of(result)
  local found = {}
  if result.started then
    found[1] = format.date(result.started)
  end
  local points = format.plural(#result.over.values, "point")
  found[#found + 1] = ("%s, %s per arm and point"):format(points, format.plural(result["repeat"], "run"))
  if format.number(result.duration_s) then
    found[#found + 1] = "took " .. format.value(result.duration_s, "seconds")
  end
  found[#found + 1] = "seed " .. tostring(result.seed)
  return found
end

local function legend_of(result)
  local axis = ("Across: %s%s."):format(result.over.label, result.over.log and ", logarithmic" or "")
  return result["repeat"] > 1 and axis .. " Bold: the median; faint: each run." or axis
end

local function sheet_of(result)
  local found = {}
  for i, column in ipairs(result.columns) do
    found[i] = table_of(result, column)
  end
  found[#found + 1] = expectations_of(result)
  return {
    name = result.name, description = result.description, facts = facts_of(result),
    verdict = model.verdict(result), charts = charts_of(result), legend = legend_of(result),
    charts_title = "Along " .. result.over.label,
    wide_charts = true, tables = found, writeup = result.writeup,
    appendix = { tables.differences(result.arms),
      method.pairs_table("options", "Options of this run", result.options),
      method.pairs_table("environment", "Environment", result.environment) },
    command = result.command,
  }
end

---@param result table  schema wsb.sweep/1
---@param options? {color: boolean?, width: integer?}
---@return string  ends with the verdict
function report.text(result, options)
  return text.sheet(sheet_of(result), options)
end

---@param result table
---@return string
function report.markdown(result)
  return markdown.sheet(sheet_of(result))
end

---@param result table
---@return string  one file, nothing fetched
function report.html(result)
  return html.sheet(sheet_of(result))
end

report.csv = csv.sweep

return report
