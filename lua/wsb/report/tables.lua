-- The tables of a report, made once, so that page, Markdown and terminal say the same. A table is a list of
-- columns and of rows of cells; a cell is a text ready to print and, where it is good or bad news, a tone.

local arms = require "wsb.report.arms"
local comparison = require "wsb.report.comparison"
local format = require "wsb.report.format"
local stats = require "wsb.judge.stats"

local tables = {}

---@class wsb.report.Cell
---@field text string
---@field tone ("good"|"bad")?

---@class wsb.report.Table
---@field id string
---@field title string
---@field columns {title: string, numeric: boolean?}[]
---@field rows wsb.report.Cell[][]  -- the first cell names the row
---@field notes string[]?

local function cells(...)
  local row = {}
  for i, text in ipairs { ... } do
    row[i] = { text = text }
  end
  return row
end

local function arm_columns(list, numeric)
  local columns = { { title = "" } }
  for i, arm in ipairs(list) do
    columns[i + 1] = { title = arm.name, numeric = numeric }
  end
  return columns
end

-- By how much memory varied over runs that lived, "4.1–20.6 %"; nil when that is not known of all of them.
local function varied(runs)
  local values = {}
  for _, run in ipairs(runs) do
    values[#values + 1] = format.number(run.outcome.flatness)
  end
  return #values == #runs and format.range(stats.quantile(values, 0), stats.quantile(values, 1), "ratio")
end

-- "killed at 256 MiB after 8.9–9.4 s", of runs that ended alike but not at the same time.
local function outcome_kind(group, limit)
  local times = {}
  for _, run in ipairs(group.runs) do
    times[#times + 1] = format.number(run.outcome.at_s)
  end
  local text = group.kind
  if group.kind == "killed" and limit and limit.bytes then
    text = text .. " at " .. format.value(limit.bytes, "bytes")
  elseif group.kind == "stalled" then
    text = "did not recover"
  elseif group.kind == "alive" and group.runs[1].recovers then
    text = "recovered"
  elseif group.kind == "alive" and varied(group.runs) then
    text = text .. ", memory varied by " .. varied(group.runs)
  end
  if #times == #group.runs then
    text = text .. " after " .. format.range(stats.quantile(times, 0), stats.quantile(times, 1), "seconds")
  end
  return text
end

local function same_text(runs)
  for _, run in ipairs(runs) do
    if run.outcome.text ~= runs[1].outcome.text then
      return false
    end
  end
  return true
end

local function outcome_text(arm, limit)
  if #arm.runs == 1 then
    return arm.runs[1].outcome.text
  end
  local parts = {}
  for i, group in ipairs(arms.outcomes(arm)) do
    local text = same_text(group.runs) and group.runs[1].outcome.text or outcome_kind(group, limit)
    parts[i] = ("%d of %d %s"):format(#group.runs, #arm.runs, text)
  end
  return parts[1] and table.concat(parts, "; ") or format.NONE
end

local function outcome_tone(arm)
  for _, run in ipairs(arm.runs) do
    if run.outcome.kind ~= "alive" then
      return "bad"
    end
  end
  return arm.runs[1] and "good"
end

local function overview_row(measure, list, base, treatment)
  local row = cells(measure.label)
  for i, arm in ipairs(list) do
    row[i + 1] = { text = format.value(stats.median(arms.sample(arm, measure.metric)), measure.unit) }
  end
  if treatment then
    local a, b = arms.sample(base, measure.metric), arms.sample(treatment, measure.metric)
    row[#row + 1] = comparison.change(a, b, measure)
  end
  return row
end

local NEVER = "never: not within the run; of a percentile, so many messages were not delivered that it falls "
  .. "among them."

local MEMORY = "Server memory includes the kernel memory of its sockets"
local UNCHARGED = MEMORY .. ", which this limit (cgroup v1) does not charge."
local RSS = "rss: the server's processes together. What the kernel holds for their sockets is not known."
local AT_THE_END = "At the end: the last sample before the server died."

-- Whether any run fits, whatever its arm.
local function any_run(list, fits)
  for _, arm in ipairs(list) do
    for _, run in ipairs(arm.runs) do
      if fits(run) then
        return true
      end
    end
  end
  return false
end

-- What would puzzle a reader who knows how the servers ended.
local function ending_notes(result, list, notes)
  local limit, shown, at_the_end = result.limit, {}, false
  for _, measure in ipairs(result.columns or {}) do
    shown[measure.metric] = true
    at_the_end = at_the_end or measure.metric:find "%.last$"
  end
  local function above(run)
    return (format.number((run.metrics or {})["server_memory.max"]) or 0) > limit.bytes
  end
  if shown["rss.max"] and not shown["server_memory.max"] then
    notes[#notes + 1] = RSS
  elseif shown["server_memory.max"] then
    local uncharged = limit and limit.kind == "cgroup v1" and any_run(list, above)
    notes[#notes + 1] = uncharged and UNCHARGED or MEMORY .. "."
  end
  if at_the_end and any_run(list, function(run) return run.outcome.kind ~= "alive" end) then
    notes[#notes + 1] = AT_THE_END
  end
end

local function overview_notes(result, rows, list)
  local notes, n = {}, arms.most_runs(list)
  if n > 1 then
    local few = stats.smallest_p(n, n) >= stats.ALPHA and ", too few to tell a difference from chance" or ""
    notes[1] = ("Medians of %s per arm%s."):format(format.plural(n, "run"), few)
  end
  ending_notes(result, list, notes)
  for _, row in ipairs(rows) do
    for i = 2, #list + 1 do
      if row[i].text == "never" then
        notes[#notes + 1] = NEVER
        return notes
      end
    end
  end
  return notes
end

---The before/after table: a row per figure, a column per arm, and what changed when there are two.
---@param result table
---@param list wsb.report.Arm[]
---@return wsb.report.Table
function tables.overview(result, list)
  local base, treatments = arms.split(list)
  local treatment = base and #list == 2 and treatments[1] or nil
  local columns, first = arm_columns(list, true), cells("outcome")
  for i, arm in ipairs(list) do
    first[i + 1] = { text = outcome_text(arm, result.limit), tone = outcome_tone(arm) }
  end
  if treatment then
    columns[#columns + 1] = { title = "change", numeric = true }
    first[#first + 1] = { text = "" }
  end
  local rows = { first }
  for _, measure in ipairs(result.columns or {}) do
    rows[#rows + 1] = overview_row(measure, list, base, treatment)
  end
  local title = #list == 1 and "Under this load" or "Before and after"
  return { id = "overview", title = title, columns = columns, rows = rows,
    notes = overview_notes(result, rows, list) }
end

local function option_names(list)
  local seen, names = {}, {}
  for _, arm in ipairs(list) do
    for name in pairs(arm.options) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

---The options in which the arms differ; everything else is the same.
---@param list wsb.report.Arm[]
---@return wsb.report.Table
function tables.differences(list)
  local rows = {}
  for i, name in ipairs(option_names(list)) do
    rows[i] = cells(name)
    for column, arm in ipairs(list) do
      local value = arm.options[name]
      rows[i][column + 1] = { text = value == nil and "(default)" or tostring(value) }
    end
  end
  local title = "What differs between the arms"
  return { id = "differences", title = title, columns = arm_columns(list), rows = rows }
end

local function held_cell(arm, results)
  local held, missing = 0, 0
  for _, result in ipairs(results) do
    held = held + (result.held == true and 1 or 0)
    missing = missing + (type(result.held) ~= "boolean" and 1 or 0)
  end
  local text
  if #results == 1 then
    text = missing == 1 and "no data" or held == 1 and "yes" or "no"
  else
    text = ("%d of %d"):format(held, #results)
    text = missing > 0 and ("%s, no data in %d"):format(text, missing) or text
  end
  local good = held == #results
  return { text = text, tone = arm.role ~= "base" and (good and "good" or "bad") or nil }
end

local function threshold_row(arm, place)
  local first, values, results = arm.runs[1].thresholds[place], {}, {}
  for _, run in ipairs(arm.runs) do
    local threshold = (run.thresholds or {})[place]
    if threshold then
      values[#values + 1] = format.number(threshold.value)
      results[#results + 1] = threshold
    end
  end
  local value = arms.summary(values, first.unit)
  local row = cells(arm.name, first.metric, first.expression, value)
  row[5] = held_cell(arm, results)
  return row
end

local BASE_FAILS = "%s is expected to fail: had it held, there would have been nothing to fix."

---@param list wsb.report.Arm[]
---@return wsb.report.Table
function tables.thresholds(list)
  local rows, notes = {}, nil
  for _, arm in ipairs(list) do
    local thresholds = arm.runs[1] and arm.runs[1].thresholds or {}
    for place = 1, #thresholds do
      rows[#rows + 1] = threshold_row(arm, place)
    end
    if arm.expect == "fail" and #thresholds > 0 then
      notes = { BASE_FAILS:format(arm.name) }
    end
  end
  local columns = { { title = "arm" }, { title = "metric" }, { title = "threshold" },
    { title = "value", numeric = true }, { title = "held" } }
  return { id = "thresholds", title = "Thresholds", columns = columns, rows = rows, notes = notes }
end

return tables
