-- The options a script declares: `name = { "help", default, type = "size" }`. They become flags of the
-- command line, values in ctx.opt, and "$name" in the script's tables.

local config = require "wsb.load.config"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local suggest = require "wsb.command.suggest"
local units = require "wsb.base.units"

local options = {}

---@class wsb.Declared
---@field name string       as in ctx.opt: stall_after
---@field flag string       as on the command line: --stall-after
---@field help string
---@field type string       count, size, duration, rate, byte_rate, ratio, boolean, text or choice
---@field choices string[]?
---@field default string    as one would write it

local TYPES = { "count", "size", "duration", "rate", "byte_rate", "ratio", "boolean", "text", "choice" }
local FIELDS = { [1] = true, [2] = true, type = true, choices = true, option = true }

local function declare_one(name, spec, where)
  local here = ("%s.%s"):format(where, name)
  if type(spec) ~= "table" or type(spec[1]) ~= "string" or spec[2] == nil or type(spec[2]) == "table" then
    errors.raise(errors.SCRIPT, '%s: not accepted: give { "what it does", default }', here)
  end
  if type(name) ~= "string" or not name:find("^%l[%l%d_]*$") then
    errors.raise(errors.SCRIPT, "%s: the name is not accepted: use small letters, digits and _", here)
  end
  for field in pairs(spec) do
    if not FIELDS[field] then
      errors.raise(errors.SCRIPT, "%s.%s: no such field: use { help, default, type =, choices = }", here,
        field)
    end
  end
  local kind = spec.type or (spec.choices and "choice") or units.infer(spec[2])
  if not suggest.contains(TYPES, kind) then
    errors.raise(errors.SCRIPT, "%s.type: '%s' is not accepted: %s", here, kind,
      suggest.remedy(tostring(kind), TYPES))
  end
  local declared = { name = name, flag = "--" .. name:gsub("_", "-"), help = spec[1], type = kind,
    choices = spec.choices, default = tostring(spec[2]) }
  local value, accepted = config.read(declared, declared.default)
  if value == nil then
    errors.refuse(here .. "[2]", declared.default, accepted)
  end
  return declared
end

---Checks the `options` of a script.
---@param specs table<string, table>
---@param where string  for messages
---@return wsb.Declared[]  by name
function options.declare(specs, where)
  local list = {}
  for name, spec in pairs(specs) do
    table.insert(list, declare_one(name, spec, where))
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

---Adds the flags to an argparse parser. Values arrive as text: options.resolve reads them.
---@param parser table
---@param list wsb.Declared[]
function options.add_flags(parser, list)
  for _, o in ipairs(list) do
    if o.type == "boolean" and o.default == "true" then
      parser:flag("--no-" .. o.flag:sub(3)):target(o.name):action("store_false"):description("do not "
        .. o.help)
    elseif o.type == "boolean" then
      parser:flag(o.flag):target(o.name):description(o.help)
    else
      local help = ("%s (%s, default %s)"):format(o.help, o.type == "choice" and table.concat(o.choices, "|")
        or o.type:gsub("_", " "), o.default == "" and "none" or o.default)
      parser:option(o.flag):target(o.name):argname("<" .. o.type:gsub("_", "-") .. ">"):description(help)
    end
  end
end

---@class wsb.Chosen
---@field values table<string, any>     ctx.opt
---@field texts table<string, string>   as written
---@field given {flag: string, text: string}[]  what the command line set, in order of name

---Reads what the command line gave, and the defaults for the rest. Raises status 64.
---@param list wsb.Declared[]
---@param given table<string, string|boolean>  by name
---@return wsb.Chosen
function options.resolve(list, given)
  local chosen = { values = {}, texts = {}, given = {} }
  for _, o in ipairs(list) do
    local text = given[o.name]
    if text == nil then text = o.default end
    local value, accepted = config.read(o, text)
    if value == nil then
      errors.raise(errors.USAGE, "%s: '%s' is not accepted: give %s", o.flag, text, accepted)
    end
    chosen.values[o.name], chosen.texts[o.name] = value, tostring(text)
    if tostring(text) ~= o.default then
      local flag = o.type == "boolean" and value == false and "--no-" .. o.flag:sub(3) or o.flag
      table.insert(chosen.given, { flag = flag, text = o.type ~= "boolean" and text or nil })
    end
  end
  return chosen
end

---The options of a run as its result tells them.
---@param list wsb.Declared[]
---@param chosen wsb.Chosen
---@return {name: string, value: string, help: string}[]
function options.describe(list, chosen)
  local described = {}
  for i, o in ipairs(list) do
    described[i] = { name = o.flag, value = chosen.texts[o.name], help = o.help }
  end
  return described
end

local function substitute_text(text, chosen, where)
  local function text_of(name)
    if chosen.texts[name] then return chosen.texts[name] end
    local names = {}
    for known in pairs(chosen.texts) do
      table.insert(names, known)
    end
    errors.raise(errors.SCRIPT, "%s: '$%s': no such option: %s", where, name, suggest.remedy(name, names))
  end
  local whole = text:match("^%$([%a_][%w_]*)$")
  if whole then
    text_of(whole)
    return chosen.values[whole]
  end
  return (text:gsub("%$([%a_][%w_]*)", text_of))
end

---A copy in which "$name" is the option's value, and "... $name ..." its text.
---@generic T
---@param value T
---@param chosen wsb.Chosen
---@param where string  for messages
---@return T
function options.substitute(value, chosen, where)
  if type(value) == "string" then return substitute_text(value, chosen, where) end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, item in pairs(value) do
    local here = type(key) == "number" and ("%s[%d]"):format(where, key) or ("%s.%s"):format(where, key)
    copy[key] = options.substitute(item, chosen, here)
  end
  return copy
end

---Whether an option is for tests of the tests, and shown to nobody: a fault on purpose.
---@param name string
---@return boolean
function options.is_hidden(name)
  return name:find("^testing_") ~= nil
end

---Server options as script options, for a script that offers them all as flags.
---@param how? {rename: table<string, string>?, except: string[]?}  rename: option = flag's name
---@return table<string, table>
function options.of_server(how)
  how = how or {}
  local except = {}
  for _, name in ipairs(how.except or {}) do
    except[name] = true
  end
  local specs = {}
  for _, o in ipairs(core.options("server")) do
    if not except[o.name] and not options.is_hidden(o.name) then
      local name = (how.rename or {})[o.name] or o.name
      specs[name] = { o.help, o.default, type = o.type, choices = o.choices, option = o.name }
    end
  end
  return specs
end

---The values of options made by options.of_server, by the server's own names.
---@param specs table<string, table>
---@param opt table<string, any>  ctx.opt
---@return table<string, string|number|boolean>
function options.for_server(specs, opt)
  local values = {}
  for name, spec in pairs(specs) do
    if spec.option then values[spec.option] = opt[name] end
  end
  return values
end

return options
