-- The options of the worker roles (config.def), as scripts and the command line give them.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local suggest = require "wsb.command.suggest"
local units = require "wsb.base.units"

local config = {}

---@class wsb.Option
---@field name string
---@field type string         a wsb.UnitKind, boolean, text or choice
---@field default string
---@field choices string[]?
---@field live boolean        may change while running
---@field help string

---@param role wsb.Role
---@param name string
---@return wsb.Option?
function config.find(role, name)
  for _, option in ipairs(core.options(role)) do
    if option.name == name then return option end
  end
  return nil
end

---@param role wsb.Role
---@param only_live? boolean  those that may change while running
---@return string[]
function config.names(role, only_live)
  local names = {}
  for _, option in ipairs(core.options(role)) do
    if option.live or not only_live then table.insert(names, option.name) end
  end
  return names
end

local function read_choice(choices, value)
  for _, choice in ipairs(choices) do
    if choice == value then return value end
  end
  return nil, "one of " .. table.concat(choices, ", ")
end

local function read_boolean(value)
  if value == true or value == "true" then return true end
  if value == false or value == "false" then return false end
  return nil, "true or false"
end

---Reads one value of a declared type.
---@param option {type: string, choices: string[]?}
---@param value string|number|boolean
---@return string|number|boolean|nil value  numbers in the base unit
---@return string? accepted  what would be, when it is not
function config.read(option, value)
  if option.type == "boolean" then return read_boolean(value) end
  if option.type == "choice" then return read_choice(option.choices or {}, value) end
  if option.type == "text" then
    if type(value) == "string" then return value end
    return nil, "text"
  end
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil, select(2, core.parse(option.type, "?"))
  end
  return units.read(option.type, value)
end

---Raises why an option cannot be given there.
---@param role wsb.Role
---@param name string
---@param where string
---@param only_live? boolean
function config.refuse(role, name, where, only_live)
  local option = config.find(role, tostring(name))
  local what = option and "is fixed when the %s starts" or "no such option of the %s"
  errors.raise(errors.SCRIPT, "%s.%s: %s: %s", where, name, what:format(role),
    suggest.remedy(tostring(name), config.names(role, only_live)))
end

---Checks a table of options and writes it the way a worker parses it.
---@param role wsb.Role
---@param values table<string, string|number|boolean>
---@param where string  for messages: "arms[1].server", "ctx:serve"
---@param only_live? boolean  the worker is running already
---@return table<string, string|boolean>
function config.encode(role, values, where, only_live)
  local encoded = {}
  for name, value in pairs(values) do
    local option = config.find(role, tostring(name))
    if not option or (only_live and not option.live) then
      config.refuse(role, name, where, only_live)
    end
    local read, accepted = config.read(option, value)
    if read == nil then
      errors.refuse(("%s.%s"):format(where, name), value, accepted)
    end
    local is_number = type(value) == "number"
    encoded[name] = is_number and units.write(option.type, read) or value
  end
  return encoded
end

return config
