-- The points of a sweep: what `over.values` says, as numbers in ascending order.

local errors = require "wsb.base.errors"
local units = require "wsb.base.units"

local points = {}

-- How a value of a unit is read.
local KINDS = { count = "count", bytes = "size", seconds = "duration", ratio = "ratio" }

local function each_text(values)
  if type(values) == "table" then return values end
  local list = {}
  for text in tostring(values):gmatch "[^,%s]+" do
    list[#list + 1] = text
  end
  return list
end

---Reads the points. Raises `exit` with what is wrong with them.
---@param over {values: (string|number)[]|string|number, unit: string?, log: boolean?}  "$name" substituted
---@param where string  for messages: "over.values", "--clients"
---@param exit integer  whose mistake it would be
---@return number[]
function points.read(over, where, exit)
  local kind, list, seen = KINDS[over.unit or "count"], {}, {}
  for i, text in ipairs(each_text(over.values)) do
    local value, accepted = units.read(kind, text)
    if value == 0 and over.log then value, accepted = nil, "more than 0, since the axis is logarithmic" end
    if value and seen[value] then value, accepted = nil, "each value once" end
    if not value then
      errors.raise(exit, "%s: '%s' is not accepted: give %s", where, tostring(text), accepted)
    end
    list[i], seen[value] = value, true
  end
  if #list == 0 then errors.raise(exit, "%s: none: give at least one, comma-separated", where) end
  table.sort(list)
  return list
end

return points
