-- Values with units. In Lua a number is always in its base unit (bytes, seconds, per second); text is what
-- people write. C parses the text, so the command line, scripts and live changes accept the same.

local core = require "wsb.core"

local units = {}

---@type table<string, boolean>
units.kinds = { count = true, size = true, duration = true, rate = true, byte_rate = true, ratio = true }

local INTEGER = { count = true, size = true }

---@param kind wsb.UnitKind
---@param value string|number  a number is in the base unit already
---@return number? value
---@return string? accepted  what would be, when it is not
function units.read(kind, value)
  if type(value) == "number" then
    if value >= 0 and value < math.huge then return INTEGER[kind] and math.floor(value) or value end
    return nil, select(2, core.parse(kind, "?"))
  end
  local number, accepted = core.parse(kind, value)
  if not number then return nil, accepted end
  return INTEGER[kind] and math.floor(number) or number
end

local WRITTEN = { count = "%.0f", size = "%.0f", duration = "%.9fs", rate = "%.9f/s", byte_rate = "%.0f/s",
  ratio = "%.12f" }

---Exact text of a value, for a worker to parse (not for people: see core.format).
---@param kind wsb.UnitKind
---@param value number
---@return string
function units.write(kind, value)
  return (WRITTEN[kind]:format(value))
end

-- What a piece of text must look like to be taken for a kind.
local SHAPES = {
  { "byte_rate", "^[%d.]+%s*[kKMG]?i?B?/s$", "[iB]" },
  { "rate", "^[%d.]+%s*/[smh]$", "" },
  { "size", "^[%d.]+%s*[kKMG]?i?B$", "" },
  { "duration", "^[%d.]+%s*[num]?[smh]$", "" },
  { "ratio", "^[%d.]+%%$", "" },
}

---The kind that a default value suggests.
---@param value string|number|boolean
---@return "count"|"size"|"duration"|"rate"|"byte_rate"|"ratio"|"boolean"|"text"
function units.infer(value)
  if type(value) == "boolean" then return "boolean" end
  if type(value) == "number" then return "count" end
  for _, shape in ipairs(SHAPES) do
    if value:find(shape[2]) and value:find(shape[3]) then return shape[1] end
  end
  return "text"
end

return units
