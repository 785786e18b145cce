-- Thresholds: "p(99)<100ms" under the key `fanout_lag{cohort:healthy}`.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local metrics = require "wsb.measure.metrics"
local selectors = require "wsb.measure.selector"

local threshold = {}

---@class wsb.Threshold
---@field metric string            the key
---@field expression string        as written
---@field selector wsb.Selector
---@field operator string
---@field bound number             in the metric's unit

local HOLDS = {
  ["<"] = function(a, b) return a < b end,
  ["<="] = function(a, b) return a <= b end,
  [">"] = function(a, b) return a > b end,
  [">="] = function(a, b) return a >= b end,
  ["=="] = function(a, b) return a == b end,
  ["!="] = function(a, b) return a ~= b end,
}

local function read_ratio(text)
  local percent = text:match("^([%d.]+)%s*%%$")
  local value = tonumber(percent or text)
  if not value then return nil, "a ratio such as 0.99 or 99%" end
  return percent and value / 100 or value
end

local KINDS = { bytes = "size", seconds = "duration", count = "count" }

local function read_bound(unit, text)
  if unit == "ratio" then return read_ratio(text) end
  return core.parse(KINDS[unit], text)
end

---@param metric string      e.g. "fanout_lag{cohort:healthy}"
---@param expression string  e.g. "p(99)<100ms": aggregate, one of < <= > >= == !=, a value with its unit
---@param where string       for messages
---@return wsb.Threshold
function threshold.parse(metric, expression, where)
  local aggregate, operator, value = expression:match("^%s*([%a_]*[%(%)%d.]*)%s*([<>=!]=?)%s*(.-)%s*$")
  if not aggregate or not HOLDS[operator] or value == "" then
    errors.refuse(where, expression, "an aggregate, one of < <= > >= == != and a value, such as p(99)<100ms")
  end
  local selector = selectors.parse(aggregate == "" and metric or metric .. "." .. aggregate, where)
  local bound, accepted = read_bound(selectors.unit(selector), value)
  if not bound then
    errors.refuse(("%s: '%s'"):format(where, expression), value, accepted)
  end
  return { metric = metric, expression = expression, selector = selector, operator = operator, bound = bound }
end

---@param t wsb.Threshold
---@param data wsb.RunData
---@return {metric: string, expression: string, unit: string, value: number?, held: boolean?, why: string?}
---held is nil when the metric is missing, and `why` says why
function threshold.judge(t, data)
  local value, why = metrics.value(data, t.selector)
  local held = nil
  if value then held = HOLDS[t.operator](value, t.bound) end
  return { metric = t.metric, expression = t.expression, unit = selectors.unit(t.selector), value = value,
    held = held, why = not value and why or nil }
end

return threshold
