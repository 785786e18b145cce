-- From values to places on an axis (0 at its foot, 1 at its head) and round ticks in between.

local format = require "wsb.report.format"

local scale = {}

---@class wsb.report.Scale
---@field place fun(value: number): number  -- 0..1; values beyond the axis are put at its end
---@field ticks {place: number, text: string}[]

-- The head of an axis with infinite values is theirs; what is finite stays below this place.
local FINITE_TOP = 0.9

local function clamp(share)
  return math.max(0, math.min(1, share))
end

-- 1, 2, 5, 10 ... times the power of `base` below it: the smallest step that needs at most `most` of them.
local function round_step(span, most)
  local rough = span / most
  local power = 10 ^ math.floor(math.log(rough, 10))
  for _, factor in ipairs { 1, 2, 5 } do
    if factor * power >= rough then
      return factor * power
    end
  end
  return 10 * power
end

local function power_of_two_step(span, most)
  return 2 ^ math.ceil(math.log(span / most, 2))
end

local function step_for(span, most, unit)
  if unit == "bytes" then
    return power_of_two_step(span, most)
  elseif unit == "count" then
    return math.max(1, round_step(span, most))
  end
  return round_step(span, most)
end

local function linear(spec, top)
  local head = spec.max * 1.05
  local function place(value)
    return value == math.huge and 1 or clamp(value / head) * top
  end
  local ticks = {}
  local step = step_for(head, 5, spec.unit)
  for i = 0, math.floor(head / step) do
    ticks[i + 1] = { place = place(i * step), text = i == 0 and "0" or format.value(i * step, spec.unit) }
  end
  return { place = place, ticks = ticks }
end

local function logarithmic(spec, top)
  local base = spec.unit == "bytes" and 2 or 10
  local low = math.floor(math.log(spec.min, base))
  local high = math.max(low + 1, math.ceil(math.log(spec.max, base)))
  local function place(value)
    if value == math.huge then
      return 1
    end
    return value <= 0 and 0 or clamp((math.log(value, base) - low) / (high - low)) * top
  end
  local ticks = {}
  for exponent = low, high, math.ceil((high - low) / 6) do
    local value = base ^ exponent
    ticks[#ticks + 1] = { place = place(value), text = format.value(value, spec.unit) }
  end
  return { place = place, ticks = ticks }
end

---@param spec {max: number, min: number, unit: string, log: boolean?, infinite: boolean?}
---  min: the least value above zero, used when log; infinite: whether a place for infinity is wanted
---@return wsb.report.Scale
function scale.new(spec)
  local top = spec.infinite and FINITE_TOP or 1
  local made = (spec.log and logarithmic or linear)(spec, top)
  if spec.infinite then
    table.insert(made.ticks, { place = 1, text = format.value(math.huge, spec.unit) })
  end
  return made
end

---Round moments from 0 to `last` seconds; the last of them carries the unit.
---@param last number
---@return {place: number, text: string}[]
function scale.time_ticks(last)
  local minutes = last > 300
  local span = minutes and last / 60 or last
  local step = round_step(span, 8)
  local ticks = {}
  for i = 0, math.floor(span / step + 1e-9) do
    ticks[i + 1] = { place = i * step / span, text = ("%.10g"):format(i * step) }
  end
  ticks[#ticks].text = ticks[#ticks].text .. (minutes and " min" or " s")
  return ticks
end

---The axis of time, from 0 to `last` seconds.
---@param last number
---@return wsb.report.Axis
function scale.time(last)
  return { place = function(t) return clamp(t / last) end, ticks = scale.time_ticks(last),
    at_end = "at its end" }
end

local LEAST_GAP = 0.055 -- between two ticks, as a share of the width

-- Ticks at the points themselves, as far as they have room; the last one always, and it ends where the axis
-- does.
local function point_ticks(over, place)
  local kept = {}
  for i, value in ipairs(over.values) do
    local is_last = i == #over.values
    local gap = is_last and 2 * LEAST_GAP or LEAST_GAP
    local function is_near()
      return kept[1] and place(value) - kept[#kept].place < gap
    end
    while is_last and is_near() do
      kept[#kept] = nil
    end
    if not is_near() then
      kept[#kept + 1] = { place = place(value), text = format.value(value, over.unit) }
    end
  end
  return kept
end

---The axis of what a sweep varies: ascending `values`, more than 0 when it is logarithmic.
---@param over {values: number[], unit: string, label: string, log: boolean?}
---@return wsb.report.Axis
function scale.points(over)
  local first, last = over.values[1], over.values[#over.values]
  local function place(value)
    if over.log and last > first then
      return clamp(math.log(value / first) / math.log(last / first))
    end
    return last > 0 and clamp(value / last) or 0
  end
  return { place = place, ticks = point_ticks(over, place), at_end = "at " .. format.point(last, over) }
end

return scale
