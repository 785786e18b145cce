-- What a chart shows, before it is drawn: both arms on one time axis, all places as shares of the plot.

local format = require "wsb.report.format"
local scale = require "wsb.report.scale"

local chart = {}

---@class wsb.report.Curve
---@field arm string
---@field style integer
---@field bold boolean                            -- the median run of its arm
---@field points (number[]|false)[]               -- {x, y} as shares of the plot; false is a gap
---@field last number                             -- last value
---@field most number                             -- greatest value
---@field ending {x: number, y: number, text: string}?  -- where and how it died

---@class wsb.report.Chart
---@field title string
---@field unit string
---@field log boolean?
---@field description string
---@field curves wsb.report.Curve[]
---@field lines {place: number, label: string}[]
---@field windows {from: number, to: number, label: string}[]
---@field y_ticks {place: number, text: string}[]
---@field x_ticks {place: number, text: string}[]

-- More points than this cannot be told apart at the width of a page.
local MOST_POINTS = 500

local function each_value(list, series, visit)
  for _, arm in ipairs(list) do
    for _, run in ipairs(arm.runs) do
      local all = run.series or {}
      for i, t in ipairs(all.t or {}) do
        visit(t, format.number((all[series] or {})[i]))
      end
    end
  end
end

local function extent(list, spec)
  local found = { last_s = 0, max = 0, min = math.huge, infinite = false, any = false }
  local function take(value)
    if value == math.huge then
      found.infinite = true
      return
    end
    found.max = math.max(found.max, value)
    if value > 0 then
      found.min = math.min(found.min, value)
    end
  end
  each_value(list, spec.series, function(t, value)
    found.last_s = math.max(found.last_s, t)
    if value then
      found.any = true
      take(value)
    end
  end)
  for _, line in ipairs(spec.lines or {}) do
    take(line.value)
  end
  found.max = found.max > 0 and found.max or 1
  found.min = math.min(found.min, found.max)
  return found
end

-- Per slice of time the lowest and the highest point, in the order they came: peaks survive the thinning.
local function thin(points)
  if #points <= MOST_POINTS then
    return points
  end
  local kept, size = {}, math.ceil(#points / (MOST_POINTS / 2))
  for first = 1, #points, size do
    local low, high = first, first
    for i = first, math.min(first + size - 1, #points) do
      if not points[i] then
        low, high = i, i -- a gap outweighs what it interrupts
        break
      end
      low = points[i][2] < points[low][2] and i or low
      high = points[i][2] > points[high][2] and i or high
    end
    kept[#kept + 1] = points[math.min(low, high)]
    kept[#kept + 1] = low ~= high and points[math.max(low, high)] or nil
  end
  return kept
end

local ENDED = { killed = "killed", aborted = "aborted", exited = "exited" }

local function ending_of(run, points, last_s)
  local verb = ENDED[run.outcome.kind]
  local final = points[#points]
  if not verb or not final then
    return nil
  end
  local at_s = format.number(run.outcome.at_s) or final[1] * last_s
  local text = ("%s at %s"):format(verb, format.value(at_s, "seconds"))
  return { x = math.min(1, at_s / last_s), y = final[2], text = text }
end

local function curve_of(arm, run, spec, found, y_scale)
  local series, points = run.series or {}, {}
  local last, most
  for i, t in ipairs(series.t or {}) do
    local value = format.number((series[spec.series] or {})[i])
    points[#points + 1] = value and { t / found.last_s, y_scale.place(value) } or false
    last = value or last
    most = value and math.max(most or value, value) or most
  end
  while #points > 0 and not points[#points] do
    points[#points] = nil
  end
  if not last then
    return nil
  end
  local ending = ending_of(run, points, found.last_s)
  if ending then
    points[#points + 1] = { ending.x, ending.y } -- it died between two samples
  end
  return { arm = arm.name, style = arm.style, bold = run == arm.representative, points = thin(points),
    last = last, most = most, ending = ending }
end

-- Faint ones first, so that the bold are drawn over them.
local function curves_of(list, spec, found, y_scale)
  local faint, bold = {}, {}
  for _, arm in ipairs(list) do
    for _, run in ipairs(arm.runs) do
      local curve = curve_of(arm, run, spec, found, y_scale)
      local into = curve and curve.bold and bold or faint
      into[#into + 1] = curve
    end
  end
  return table.move(bold, 1, #bold, #faint + 1, faint)
end

-- Windows of one label are one, as long as the longest run saw it: a killed server does not live to its end.
local function windows_of(list, last_s)
  local by_label, windows = {}, {}
  for _, arm in ipairs(list) do
    for _, window in ipairs(arm.representative and arm.representative.windows or {}) do
      local known = by_label[window.label]
      if not known then
        known = { label = window.label, from_s = window.from_s, to_s = window.to_s }
        by_label[window.label] = known
        windows[#windows + 1] = known
      end
      known.from_s, known.to_s = math.min(known.from_s, window.from_s), math.max(known.to_s, window.to_s)
    end
  end
  for _, window in ipairs(windows) do
    window.from = math.min(1, window.from_s / last_s)
    window.to = math.min(1, window.to_s / last_s)
  end
  return windows
end

local function description(spec, curves, windows)
  local parts = {}
  for _, curve in ipairs(curves) do
    if curve.bold then
      local text = ("%s: at most %s, %s at its end"):format(curve.arm, format.value(curve.most, spec.unit),
        format.value(curve.last, spec.unit))
      parts[#parts + 1] = curve.ending and ("%s, %s"):format(text, curve.ending.text) or text
    end
  end
  for _, line in ipairs(spec.lines or {}) do
    parts[#parts + 1] = "a line marks " .. line.label
  end
  for _, window in ipairs(windows) do
    parts[#parts + 1] = ("shaded from %s to %s: %s"):format(format.value(window.from_s, "seconds"),
      format.value(window.to_s, "seconds"), window.label)
  end
  return table.concat(parts, ". ") .. "."
end

---nil when no run has a value of the series.
---@param spec {title: string, series: string, unit: string, log: boolean?, lines: table[]?}
---@param list wsb.report.Arm[]
---@return wsb.report.Chart?
function chart.build(spec, list)
  local found = extent(list, spec)
  if not found.any or found.last_s <= 0 then
    return nil
  end
  local y_scale = scale.new { max = found.max, min = found.min, unit = spec.unit, log = spec.log,
    infinite = found.infinite }
  local curves = curves_of(list, spec, found, y_scale)
  local windows, lines = windows_of(list, found.last_s), {}
  for i, line in ipairs(spec.lines or {}) do
    lines[i] = { place = y_scale.place(line.value), label = line.label }
  end
  return {
    title = spec.title,
    unit = spec.unit,
    log = spec.log,
    description = description(spec, curves, windows),
    curves = curves,
    lines = lines,
    windows = windows,
    y_ticks = y_scale.ticks,
    x_ticks = scale.time_ticks(found.last_s),
  }
end

return chart
