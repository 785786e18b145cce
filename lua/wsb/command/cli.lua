-- The command line: wsb [run] SCRIPT ..., and the other verbs.

local core = require "wsb.core"
local errors = require "wsb.base.errors"
local reference = require "wsb.command.reference"
local runner = require "wsb.command.runner"
local script = require "wsb.command.script"
local suggest = require "wsb.command.suggest"
local task = require "wsb.base.task"

local cli = {}

local USAGE = [[
Usage: wsb [run] SCRIPT|NAME|- [--option=VALUE ...]
       wsb list            the scripts that come with wsb
       wsb help NAME       what a script does, and its options
       wsb help metrics    what thresholds and comparisons may ask of a run
       wsb help options    what ctx:serve, ctx:clients and ctx:publish take
       wsb check SCRIPT    whether a script is well formed; nothing is run
       wsb doctor          whether this machine is ready, and how to make it so
       wsb --version

Exit status: 0 proven (or done), 1 refuted, 2 inconclusive, 64 usage, 69 environment,
70 script error, 130 or 143 interrupted after clean-up.
]]

local WORDS = { "run", "list", "help", "check", "doctor" }
local TOPICS = { "run", "list", "help", "check", "doctor", "metrics", "options" }

local verbs = {}

-- `others`: what the word may have been meant to be, beside a script.
local function one_script(args, verb, others)
  if not args[1] then
    errors.raise(errors.USAGE, "%s: no script was named: `wsb list` shows those there are", verb)
  end
  return script.load(script.find(args[1], others)), args[1], table.move(args, 2, #args, 1, {})
end

function verbs.run(args, others)
  local loaded, word, rest = one_script(args, "run", others)
  return runner.run(loaded, word, rest)
end

function verbs.help(args)
  local topic = args[1]
  if not topic or verbs[topic] then return verbs["--help"]() end
  if reference[topic] then
    io.stdout:write(reference[topic](core.columns()))
    return 0
  end
  local loaded, word = one_script(args, "help", TOPICS)
  io.stdout:write(runner.help(loaded, word))
  return 0
end

function verbs.check(args)
  local loaded = one_script(args, "check")
  runner.check(loaded)
  io.stdout:write(loaded.file, ": well formed\n")
  return 0
end

function verbs.list()
  for _, bundled in ipairs(script.bundled()) do
    local ok, loaded = pcall(script.load, bundled.path)
    local about = ok and loaded.spec.description or "cannot be loaded: " .. tostring(loaded)
    io.stdout:write(("%-20s %s\n"):format(bundled.name, about))
  end
  return 0
end

function verbs.doctor()
  local ready = require("wsb.command.doctor").report(function(line) io.stdout:write(line, "\n") end)
  return ready and 0 or errors.ENVIRONMENT
end

verbs["--version"] = function()
  io.stdout:write("wsb ", core.version, "\n")
  return 0
end

verbs["--help"] = function()
  io.stdout:write(USAGE)
  return 0
end

verbs["-h"] = verbs["--help"]

-- Words that a verb takes after it; run passes on what its script makes of them.
local TAKES = { help = 1, check = 1, list = 0, doctor = 0, ["--version"] = 0, ["--help"] = 0, ["-h"] = 0 }

local function check_words(verb, args)
  local extra = TAKES[verb] and args[TAKES[verb] + 1]
  if extra then errors.raise(errors.USAGE, "%s: '%s' is a word too many: leave it out", verb, extra) end
end

local function dispatch(args)
  local first = args[1]
  if not first then
    io.stderr:write(USAGE)
    return errors.USAGE
  end
  if verbs[first] then
    local rest = table.move(args, 2, #args, 1, {})
    check_words(first, rest)
    return verbs[first](rest)
  end
  if first:sub(1, 1) == "-" and first ~= "-" then
    errors.raise(errors.USAGE, "option: '%s' is unknown here: %s", first,
      suggest.nearest(first, { "--help", "--version" }) and suggest.remedy(first, { "--help", "--version" })
      or "name a script first, its options after it")
  end
  return verbs.run(args, WORDS)
end

-- One line, whatever the message holds; a traceback only for what was not foreseen.
local function report(err)
  io.stdout:flush()
  io.stderr:write("wsb: ", (err.message:gsub("%s*\n%s*", " ")), "\n")
  if err.traceback then io.stderr:write(err.traceback, "\n") end
end

---@param args string[]  the words after `wsb`
---@return integer exit
function cli.main(args)
  local ok, result = task.run(function() return dispatch(args) end)
  if ok then return math.tointeger(result) or 0 end
  report(result)
  return result.exit
end

return cli
