-- JSON of results. JSON has no infinity and no NaN: infinite is written "Infinity", NaN null.

local cjson = require "cjson"

local json = {}

cjson.encode_number_precision(14)

local function plain(value)
  if type(value) == "number" then
    if value ~= value then return cjson.null end
    if value == math.huge then return "Infinity" end
    if value == -math.huge then return "-Infinity" end
    return value
  end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, item in pairs(value) do
    copy[key] = plain(item)
  end
  return copy
end

---@param value any  tables, text, numbers, booleans
---@return string
function json.encode(value)
  return cjson.encode(plain(value))
end

return json
