-- Scripts: found by path or by bundled name, run, and checked before anything starts.

local config = require "wsb.load.config"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local lfs = require "lfs"
local options = require "wsb.command.options"
local points = require "wsb.command.points"
local schema = require "wsb.command.schema"
local selector = require "wsb.measure.selector"
local suggest = require "wsb.command.suggest"
local threshold = require "wsb.judge.threshold"

local script = {}

local ROOMS = { "scripts", "runbook" }

---@class wsb.Script
---@field file string              for messages
---@field source string
---@field spec table               what the script returned
---@field options wsb.Declared[]

local function is_file(path)
  return lfs.attributes(path, "mode") == "file"
end

---The scripts that come with wsb, by name.
---@return {name: string, path: string}[]
function script.bundled()
  local found = {}
  for _, room in ipairs(ROOMS) do
    local directory = core.home .. "/" .. room
    if lfs.attributes(directory, "mode") == "directory" then
      for entry in lfs.dir(directory) do
        local name = entry:match("^([%w_-]+)%.lua$")
        if name then table.insert(found, { name = name, path = directory .. "/" .. entry }) end
      end
    end
  end
  table.sort(found, function(a, b) return a.name < b.name end)
  return found
end

---The file that a word on the command line means. Raises status 64.
---@param word string  a path, the name of a bundled script, or "-" for standard input
---@param others? string[]  what else may be meant by a word that is no script
---@return string
function script.find(word, others)
  if word == "-" then return word end
  local names = table.move(others or {}, 1, #(others or {}), 1, {})
  for _, bundled in ipairs(script.bundled()) do
    if bundled.name == word then return bundled.path end
    table.insert(names, bundled.name)
  end
  if is_file(word) then return word end
  local at_home = core.home .. "/" .. word
  if word:find("/") and is_file(at_home) then return at_home end
  if is_file(word .. ".lua") then
    local path = word:find("/") and word or "./" .. word
    errors.raise(errors.USAGE, "script: '%s' does not exist: did you mean %s.lua?", word, path)
  end
  local name = word:match("([^/]+)%.lua$") or word
  local nearest = suggest.nearest(name, names)
  errors.raise(errors.USAGE, "script: '%s' does not exist: %s", word,
    nearest and ("did you mean %s?"):format(nearest) or "`wsb list` shows those that come with wsb")
end

local function read(path)
  if path == "-" then return io.read("a") end
  local file, why = io.open(path, "r")
  if not file then errors.raise(errors.USAGE, "script: %s: check the path", why) end
  local source = file:read("a")
  file:close()
  return source
end

local function check_thresholds(spec, chosen)
  for arm, list in pairs(spec.thresholds or {}) do
    for metric, expressions in pairs(list) do
      if metric ~= "expect" then
        for i, expression in ipairs(expressions) do
          local where = ("thresholds.%s.%s[%d]"):format(arm, metric, i)
          threshold.parse(metric, tostring(options.substitute(expression, chosen, where)), where)
        end
      end
    end
  end
end

local function check_arms(spec, chosen)
  for i, arm in ipairs(spec.arms) do
    for part, role in pairs { server = "server", clients = "swarm" } do
      local where = ("arms[%d].%s"):format(i, part)
      local fixed = {}
      for name, value in pairs(options.substitute(arm[part] or {}, chosen, where)) do
        if type(value) ~= "function" then
          fixed[name] = value
        elseif not config.find(role, name) then
          config.refuse(role, name, where)
        end
      end
      config.encode(role, fixed, where)
    end
  end
end

local function check_names(spec)
  local names = {}
  for i, arm in ipairs(spec.arms) do
    local where = ("arms[%d].name"):format(i)
    if suggest.contains(names, arm.name) then
      errors.raise(errors.SCRIPT, "%s: '%s' is there already: choose another", where, arm.name)
    elseif not arm.name:find("^[%w_-]+$") then
      errors.refuse(where, arm.name, "letters, digits, - and _")
    end
    names[i] = arm.name
  end
  for name in pairs(spec.thresholds or {}) do
    if not suggest.contains(names, name) then
      local remedy = suggest.remedy(tostring(name), names)
      errors.raise(errors.SCRIPT, "thresholds.%s: no such arm: %s", name, remedy)
    end
  end
end

-- An arm that is to pass without being asked anything would prove nothing.
local function check_treatments(spec)
  for i = 2, #spec.arms do
    local name = spec.arms[i].name
    local own = (spec.thresholds or {})[name] or {}
    local asked = own.expect == "fail" or own.expect == "any"
    for metric, expressions in pairs(own) do
      asked = asked or (metric ~= "expect" and #expressions > 0)
    end
    if not asked then
      errors.raise(errors.SCRIPT, 'thresholds.%s: missing: give at least one, such as server_memory = '
        .. '{ "max<64MiB" }', name)
    end
  end
end

local function check_target(spec)
  local names = {}
  for i, arm in ipairs(spec.arms) do
    names[i] = arm.name
  end
  if spec.target and not suggest.contains(names, spec.target) then
    local remedy = suggest.remedy(spec.target, names)
    errors.raise(errors.SCRIPT, "target: '%s': no such arm: %s", spec.target, remedy)
  end
end

local function check_selectors(spec)
  for _, field in ipairs { "compare", "columns" } do
    for i, text in ipairs(spec[field] or {}) do
      selector.parse(text, ("%s[%d]"):format(field, i))
    end
  end
  for i, chart in ipairs(spec.charts or {}) do
    selector.series(chart.series, ("charts[%d].series"):format(i))
  end
end

-- What a sweep says beyond its shape: its points, and columns that are there.
local function check_sweep(spec, defaults)
  points.read(options.substitute(spec.over, defaults, "over"), "over.values", errors.SCRIPT)
  local names = {}
  for i, column in ipairs(spec.columns) do
    if suggest.contains(names, column.name) then
      errors.raise(errors.SCRIPT, "columns[%d].name: '%s' is there already: choose another", i, column.name)
    end
    names[i] = column.name
  end
  for i, chart in ipairs(spec.charts or {}) do
    if not suggest.contains(names, chart.column) then
      errors.raise(errors.SCRIPT, "charts[%d].column: '%s': no such column: %s", i, chart.column,
        suggest.remedy(chart.column, names))
    end
  end
end

local function named(file, check, ...)
  local results = table.pack(xpcall(check, errors.handler, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  local err = results[2]
  if err.exit == errors.SCRIPT and not err.traceback then
    err = errors.new(err.exit, "%s: %s", file, err.message)
  end
  error(err, 0)
end

---Checks what a script returned. Raises status 70 that names file, field, value and what is accepted.
---@param spec any
---@param file string
---@return wsb.Declared[]
function script.validate(spec, file)
  return named(file, function()
    schema.check(spec)
    local declared = options.declare(spec.options or {}, "options")
    local defaults = options.resolve(declared, {})
    if spec.measure then
      check_names(spec)
      check_arms(spec, defaults)
      check_sweep(spec, defaults)
    elseif spec.arms then
      check_names(spec)
      check_selectors(spec)
      check_arms(spec, defaults)
      check_thresholds(spec, defaults)
      check_treatments(spec)
      check_target(spec)
    end
    return declared
  end)
end

---Runs the file and checks what it returns.
---@param path string
---@return wsb.Script
function script.load(path)
  local source = read(path)
  local file = path == "-" and "standard input" or path
  local chunk, why = load(source, "@" .. file, "t")
  if not chunk then errors.raise(errors.SCRIPT, "%s: correct the syntax", why) end
  errors.blame("@" .. file)
  local spec = chunk()
  return { file = file, source = source, spec = spec, options = script.validate(spec, file) }
end

return script
