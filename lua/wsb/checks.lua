-- Scripts of the kind `checks`: rows that are asked one after the other, and what came of them.

local context = require "wsb.load.context"
local core = require "wsb.core"
local environment = require "wsb.measure.environment"
local errors = require "wsb.base.errors"
local options = require "wsb.command.options"

local checks = {}

checks.HELD, checks.FAILED, checks.NOT_APPLICABLE = "held", "FAILED", "n/a"

-- Any of these is held.
local function wanted(check, ctx)
  local expected = check.expected
  if type(expected) == "function" then expected = expected(ctx) end
  return type(expected) == "table" and expected or { expected }
end

-- One row. A check does not fail by an error: that would be the script's mistake, and is raised.
local function ask(ctx, check)
  local expected = wanted(check, ctx)
  local row = { name = check.name, sent = check.sent, expected = table.concat(expected, " or ") }
  local reason = check.unless and check.unless(ctx)
  if reason then
    row.verdict, row.reason = checks.NOT_APPLICABLE, reason
    return row
  end
  local from = core.now()
  local came = check.run(ctx)
  if type(came) ~= "string" then errors.refuse(("checks: %s: run"):format(check.name), came, "text") end
  row.came, row.duration_s = came, core.now() - from
  row.verdict = checks.FAILED
  for _, text in ipairs(expected) do
    if came == text then row.verdict = checks.HELD end
  end
  ctx:hang_up()
  return row
end

-- The rows in their order.
local function ask_all(spec, ctx, how)
  local rows = {}
  if spec.setup then spec.setup(ctx) end
  for i, check in ipairs(spec.checks) do
    how.terminal:say(("%d/%d %s"):format(i, #spec.checks, check.name))
    rows[i] = ask(ctx, check)
  end
  return rows
end

local WORDS = { [checks.HELD] = "held", [checks.FAILED] = "failed",
  [checks.NOT_APPLICABLE] = "not_applicable" }

-- Failed as soon as one did; without a row that applied nothing was shown.
local function judge(result)
  for _, word in pairs(WORDS) do
    result[word] = 0
  end
  for _, row in ipairs(result.rows) do
    local word = WORDS[row.verdict]
    result[word] = result[word] + 1
  end
  result.verdict = result.failed > 0 and "FAILED" or result.held > 0 and "HELD" or "INCONCLUSIVE"
  return result
end

---Asks every row and returns the result (schema wsb.checks/1).
---@param spec table  a checked script
---@param how {chosen: wsb.Chosen, declared: wsb.Declared[], command: string, dir: string,
---  terminal: wsb.Terminal}
---@return table
---@async
function checks.run(spec, how)
  local started, from = os.date("!%Y-%m-%dT%H:%M:%SZ"), core.now()
  local ctx = context.new { opt = how.chosen.values, log_dir = how.dir,
    progress = function(text) how.terminal:say(text) end }
  local rows = errors.finally(function() return ask_all(spec, ctx, how) end, function() ctx:close() end)
  return judge { schema = "wsb.checks/1", name = spec.name, description = spec.description,
    command = how.command, started = started, duration_s = core.now() - from,
    options = options.describe(how.declared, how.chosen),
    environment = environment.describe(ctx.seed), rows = rows }
end

return checks
