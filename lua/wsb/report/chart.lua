-- What a chart shows, before it is drawn: the arms on one axis, of time or of what a sweep varies, all places
-- as shares of the plot.

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
---@field dots boolean?                            -- its points were measured one by one

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

---@class wsb.report.Trace  -- a curve before it has a place
---@field arm string
---@field style integer
---@field bold boolean
---@field dots boolean?
---@field points (number[]|false)[]               -- {x, value}; false is a gap
---@field ending {x: number, text: string}?

---@class wsb.report.Axis
---@field place fun(x: number): number            -- 0..1
---@field ticks {place: number, text: string}[]
---@field at_end string                           -- where a curve ends, in words

local function extent(traces, spec)
  local found = { max = 0, min = math.huge, infinite = false }
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
  for _, trace in ipairs(traces) do
    for _, point in ipairs(trace.points) do
      if point then
        take(point[2])
      end
    end
  end
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

local function curve_of(trace, axis, y_scale)
  local points, last, most = {}, nil, nil
  for i, point in ipairs(trace.points) do
    points[i] = point and { axis.place(point[1]), y_scale.place(point[2]) }
    last = point and point[2] or last
    most = point and math.max(most or last, last) or most
  end
  local ending = trace.ending
  if ending then
    ending = { x = axis.place(ending.x), y = points[#points][2], text = ending.text }
    points[#points + 1] = { ending.x, ending.y } -- it died between two samples
  end
  return { arm = trace.arm, style = trace.style, bold = trace.bold, dots = trace.dots, points = thin(points),
    last = last, most = most, ending = ending }
end

-- Faint ones first, so that the bold are drawn over them.
local function curves_of(traces, axis, y_scale)
  local faint, bold = {}, {}
  for _, trace in ipairs(traces) do
    local into = trace.bold and bold or faint
    into[#into + 1] = curve_of(trace, axis, y_scale)
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

local function description(spec, axis, curves, windows)
  local parts = {}
  for _, curve in ipairs(curves) do
    if curve.bold then
      local text = ("%s: at most %s, %s %s"):format(curve.arm, format.value(curve.most, spec.unit),
        format.value(curve.last, spec.unit), axis.at_end)
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

---Curves on an axis.
---@param spec {title: string, unit: string, log: boolean?, lines: table[]?}
---@param axis wsb.report.Axis
---@param traces wsb.report.Trace[]
---@param windows? {from: number, to: number, from_s: number, to_s: number, label: string}[]
---@return wsb.report.Chart
function chart.plot(spec, axis, traces, windows)
  windows = windows or {}
  local found = extent(traces, spec)
  local y_scale = scale.new { max = found.max, min = found.min, unit = spec.unit, log = spec.log,
    infinite = found.infinite }
  local curves, lines = curves_of(traces, axis, y_scale), {}
  for i, line in ipairs(spec.lines or {}) do
    lines[i] = { place = y_scale.place(line.value), label = line.label }
  end
  return {
    title = spec.title,
    unit = spec.unit,
    log = spec.log,
    description = description(spec, axis, curves, windows),
    curves = curves,
    lines = lines,
    windows = windows,
    y_ticks = y_scale.ticks,
    x_ticks = axis.ticks,
  }
end

local ENDED = { killed = "killed", aborted = "aborted", exited = "exited" }

local function ending_of(run, points)
  local verb = ENDED[run.outcome.kind]
  local final = points[#points]
  if not verb or not final then
    return nil
  end
  local at_s = format.number(run.outcome.at_s) or final[1]
  return { x = at_s, text = ("%s at %s"):format(verb, format.value(at_s, "seconds")) }
end

-- One run over time; nil when it has no value of the series.
local function trace_of(arm, run, name)
  local series, points = run.series or {}, {}
  for i, t in ipairs(series.t or {}) do
    local value = format.number((series[name] or {})[i])
    points[i] = value and { t, value } or false
  end
  while #points > 0 and not points[#points] do
    points[#points] = nil
  end
  if #points == 0 then
    return nil
  end
  return { arm = arm.name, style = arm.style, bold = run == arm.representative, points = points,
    ending = ending_of(run, points) }
end

local function traces_of(list, name)
  local traces, last_s = {}, 0
  for _, arm in ipairs(list) do
    for _, run in ipairs(arm.runs) do
      traces[#traces + 1] = trace_of(arm, run, name)
      local moments = (run.series or {}).t or {}
      last_s = math.max(last_s, moments[#moments] or 0)
    end
  end
  return traces, last_s
end

---The arms of an experiment over time; nil when no run has a value of the series.
---@param spec {title: string, series: string, unit: string, log: boolean?, lines: table[]?}
---@param list wsb.report.Arm[]
---@return wsb.report.Chart?
function chart.build(spec, list)
  local traces, last_s = traces_of(list, spec.series)
  if #traces == 0 or last_s <= 0 then
    return nil
  end
  return chart.plot(spec, scale.time(last_s), traces, windows_of(list, last_s))
end

return chart
