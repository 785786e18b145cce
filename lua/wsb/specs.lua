-- What experiments and sweeps do alike with a script's table.

local config = require "wsb.load.config"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local options = require "wsb.command.options"
local suggest = require "wsb.command.suggest"
local units = require "wsb.base.units"

local specs = {}

---The script's table with "$name" replaced, functions as they are.
---@param spec table
---@param chosen wsb.Chosen
---@return table
function specs.resolved(spec, chosen)
  local copy = {}
  for name, value in pairs(spec) do
    copy[name] = name == "options" and value or options.substitute(value, chosen, name)
  end
  return copy
end

---The arms that the command line asks for, or those that run unasked; the first always does.
---@param arms wsb.Arm[]
---@param text string  of --arms
---@return wsb.Arm[]
function specs.chosen_arms(arms, text)
  local wanted, names, chosen = {}, {}, { arms[1] }
  for i, arm in ipairs(arms) do
    names[i] = arm.name
  end
  for name in text:gmatch("[^,%s]+") do
    if name ~= "all" and not suggest.contains(names, name) then
      errors.raise(errors.USAGE, "--arms: '%s' is no arm: %s", name, suggest.remedy(name, names))
    end
    wanted[name] = true
  end
  for i = 2, #arms do
    local arm = arms[i]
    if wanted.all or wanted[arm.name] or (not next(wanted) and not arm.optional) then
      table.insert(chosen, arm)
    end
  end
  return chosen
end

-- An option's value as a person would write it; a size of 0 is no mark, no budget, no buffer size.
local function written(role, name, value)
  if type(value) == "function" then return name == "reconnect" and "a function" or "from the run" end
  local option = config.find(role, name)
  if option.type == "size" and units.read("size", value) == 0 then return "none" end
  local is_quantity = type(value) == "number" and units.kinds[option.type]
  return is_quantity and core.format(option.type, value) or tostring(value)
end

---What an arm sets, of the server and of its clients, for people.
---@param arm wsb.Arm
---@return table<string, string>
function specs.options_of(arm)
  local own = {}
  for part, role in pairs { server = "server", clients = "swarm" } do
    for name, value in pairs(arm[part] or {}) do
      own[name] = written(role, name, value)
    end
  end
  return own
end

return specs
