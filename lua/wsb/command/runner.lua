-- A script and its flags, from the words of the command line to an exit status.

local aim = require "wsb.aim"
local argparse = require "argparse"
local checks = require "wsb.checks"
local context = require "wsb.load.context"
local core = require "wsb.core"
local errors = require "wsb.base.errors"
local experiment = require "wsb.experiment"
local options = require "wsb.command.options"
local report = require "wsb.report"
local report_checks = require "wsb.report.checks"
local report_sweep = require "wsb.report.sweep"
local rundir = require "wsb.report.rundir"
local suggest = require "wsb.command.suggest"
local sweep = require "wsb.sweep"
local terminal = require "wsb.command.terminal"

local runner = {}

local STDOUT = 1
local EXITS = { PROVEN = 0, HELD = 0, REFUTED = 1, FAILED = 1, INCONCLUSIVE = 2 }

-- Flags of every script that leaves a report: of checks; of an experiment or a sweep.
local OF_CHECKS = {
  quiet = { "no progress on stderr", false },
  runs_dir = { "where the report goes", "runs" },
}
local COMMON = {
  ["repeat"] = { "runs per arm, alternating", 1 },
  seed = { "seed of the load", 1 },
  arms = { "arms to run beside the first, comma-separated, or all; the usual ones when empty", "" },
  quiet = OF_CHECKS.quiet,
  runs_dir = OF_CHECKS.runs_dir,
  network = { "whether a script that asks for a network of its own gets one", "auto",
    choices = { "auto", "private", "host" } },
  memory_limit_kind = { "what limits the server's memory", "auto", choices = { "auto", "cgroup", "rlimit" } },
}

-- What comes beside the script's own options.
local function common_of(spec)
  local list = options.declare(spec.arms and COMMON or OF_CHECKS, "wsb")
  local aiming = spec.target and options.declare(aim.OPTIONS, "wsb") or {}
  return table.move(aiming, 1, #aiming, #list + 1, list)
end

local function declared_of(script)
  local list = table.move(script.options, 1, #script.options, 1, {})
  if script.spec.run then return list end
  local kind = script.spec.measure and "sweep" or script.spec.arms and "experiment" or "script of checks"
  for _, common in ipairs(common_of(script.spec)) do
    for _, own in ipairs(script.options) do
      if own.name == common.name then
        errors.raise(errors.SCRIPT, "%s: options.%s: every %s has %s already: choose another name",
          script.file, own.name, kind, common.flag)
      end
    end
    table.insert(list, common)
  end
  return list
end

local function parser_of(script, word)
  local parser = argparse("wsb " .. word, script.spec.description):add_help(false)
  parser:flag("-h --help"):target("help"):description("show this")
  options.add_flags(parser, declared_of(script))
  return parser
end

local function flags_of(declared)
  local flags = { "--help" }
  for _, o in ipairs(declared) do
    table.insert(flags, o.type == "boolean" and o.default == "true" and "--no-" .. o.flag:sub(3) or o.flag)
  end
  return flags
end

-- argparse's complaint in our form.
local function usage_error(complaint, declared, word)
  local unknown = complaint:match("^unknown option '(.-)'")
  if unknown then
    local remedy = suggest.remedy(unknown, flags_of(declared))
    errors.raise(errors.USAGE, "option: '%s' is unknown: %s", unknown, remedy)
  end
  local bare = complaint:match("^option '(.-)' requires an argument")
  if bare then errors.raise(errors.USAGE, "option: '%s' has no value: write %s=VALUE", bare, bare) end
  errors.raise(errors.USAGE, "command line: %s: see `wsb help %s`", complaint:gsub("%s*\n%s*", ", "), word)
end

-- "--duration -2s" as "--duration=-2s": argparse would take the value for an option, and not say whose it is.
local function joined(args, declared)
  local takes_value, flags, words = {}, flags_of(declared), {}
  for _, o in ipairs(declared) do
    takes_value[o.flag] = o.type ~= "boolean"
  end
  for _, word in ipairs(args) do
    local is_value = word:find("^%-") and word ~= "-h" and not suggest.contains(flags, word:match("^[^=]+"))
    if is_value and takes_value[words[#words]] then
      words[#words] = words[#words] .. "=" .. word
    else
      table.insert(words, word)
    end
  end
  return words
end

local function parse(script, word, args)
  local declared = declared_of(script)
  local ok, given = parser_of(script, word):pparse(joined(args, declared))
  if not ok then usage_error(given, declared, word) end
  return given, declared
end

local function quoted(text)
  if text:find("^[%w_./:=@%%+-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function command_of(word, chosen)
  local words = { "wsb", quoted(word) }
  for _, given in ipairs(chosen.given) do
    if given.flag ~= "--quiet" and given.flag ~= "--runs-dir" then
      table.insert(words, given.flag)
      if given.text then table.insert(words, quoted(given.text)) end
    end
  end
  if chosen.values.seed == COMMON.seed[2] then table.insert(words, "--seed " .. chosen.texts.seed) end
  return table.concat(words, " ")
end

local function print_result(result, directory, render)
  local color = core.isatty(STDOUT) and (os.getenv("NO_COLOR") or "") == ""
  io.stdout:write(render(result, { color = color, width = core.columns() }))
  io.stdout:write("report: ", directory.path, "/report.html\n")
  io.stdout:flush()
end

-- Calls body(directory, screen); without its end there is no report.
local function with_report(script, opt, body)
  local screen = terminal.new { quiet = opt.quiet }
  local directory = rundir.create(opt.runs_dir, script.spec.name)
  return errors.finally(function() return body(directory, screen) end, function(err)
    screen:close()
    directory:discard()
    if err and err.signal and not directory.done then
      err.message = err.message .. ", no report was written"
    end
  end)
end

local function run_experiment(script, word, chosen, declared)
  local opt = chosen.values
  if opt["repeat"] < 1 then errors.raise(errors.USAGE, "--repeat: '0' is not accepted: give 1 or more") end
  local target = script.spec.target and aim.read(opt)
  return with_report(script, opt, function(directory, screen)
    local result = experiment.run(script.spec, { chosen = chosen, declared = declared, times = opt["repeat"],
      seed = opt.seed, aim = target, limit_kind = opt.memory_limit_kind, network = opt.network,
      command = command_of(word, chosen),
      dir = directory.partial, make_directory = function(path) directory:mkdir(path) end, terminal = screen })
    directory:complete(result, script.source, report)
    screen:close()
    print_result(result, directory, report.text)
    return EXITS[result.verdict.word]
  end)
end

local function run_sweep(script, word, chosen, declared)
  local opt = chosen.values
  if opt["repeat"] < 1 then errors.raise(errors.USAGE, "--repeat: '0' is not accepted: give 1 or more") end
  return with_report(script, opt, function(directory, screen)
    local result = sweep.run(script.spec, { chosen = chosen, declared = declared, times = opt["repeat"],
      seed = opt.seed, limit_kind = opt.memory_limit_kind, network = opt.network,
      command = command_of(word, chosen), dir = directory.partial,
      make_directory = function(path) directory:mkdir(path) end, terminal = screen })
    directory:complete(result, script.source, report_sweep)
    screen:close()
    print_result(result, directory, report_sweep.text)
    return EXITS[result.verdict.word]
  end)
end

local function run_checks(script, word, chosen, declared)
  return with_report(script, chosen.values, function(directory, screen)
    local result = checks.run(script.spec, { chosen = chosen, declared = declared,
      command = command_of(word, chosen), dir = directory.partial, terminal = screen })
    directory:complete(result, script.source, report_checks)
    screen:close()
    print_result(result, directory, report_checks.text)
    return EXITS[result.verdict]
  end)
end

local function run_command(script, chosen, given)
  local screen = terminal.new {}
  local ctx = context.new { opt = chosen.values, given = given,
    progress = function(text) screen:say(text) end }
  return errors.finally(function() return script.spec.run(ctx) or 0 end, function()
    screen:close()
    ctx:close()
  end)
end

---Runs a loaded script with the flags that follow it.
---@param script wsb.Script
---@param word string  as it was named
---@param args string[]
---@return integer exit
---@async
function runner.run(script, word, args)
  local given, declared = parse(script, word, args)
  if given.help then
    io.stdout:write(runner.help(script, word))
    return 0
  end
  local chosen = options.resolve(declared, given)
  if script.spec.measure then return run_sweep(script, word, chosen, declared) end
  if script.spec.arms then return run_experiment(script, word, chosen, declared) end
  if script.spec.checks then return run_checks(script, word, chosen, declared) end
  return run_command(script, chosen, given)
end

---@param script wsb.Script
---@param word string
---@return string
function runner.help(script, word)
  return parser_of(script, word):get_help() .. "\n"
end

---Raises what declared flags are wrong with.
---@param script wsb.Script
function runner.check(script)
  declared_of(script)
end

return runner
