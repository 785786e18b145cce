-- One result in, everything a reader may see out, already in words. The renderers only arrange it.

local arms = require "wsb.report.arms"
local chart = require "wsb.report.chart"
local closes = require "wsb.report.closes"
local comparison = require "wsb.report.comparison"
local format = require "wsb.report.format"
local method = require "wsb.report.method"
local tables = require "wsb.report.tables"

local model = {}

local VERDICTS = {
  PROVEN = { sign = "✓", tone = "good", says = "%s" },
  REFUTED = { sign = "✗", tone = "bad", says = "The claim did not hold: %s" },
  HELD = { sign = "✓", tone = "good", says = "%s" },
  FAILED = { sign = "✗", tone = "bad", says = "The claim did not hold: %s" },
  INCONCLUSIVE = { sign = "?", tone = "open", says = "Nothing was shown. The claim was: %s" },
}

---The verdict as a reader meets it.
---@param result {verdict: {word: string, reasons: string[]?}, claim: string?}
---@return {word: string, sign: string, tone: string, statement: string, reasons: string[]}
function model.verdict(result)
  local look = VERDICTS[result.verdict.word] or VERDICTS.INCONCLUSIVE
  local statement = result.claim and look.says:format(result.claim) or ""
  return { word = result.verdict.word, sign = look.sign, tone = look.tone, statement = statement,
    reasons = result.verdict.reasons or {} }
end

local function facts(result, list)
  local found = {}
  if result.started then
    found[#found + 1] = format.date(result.started)
  end
  found[#found + 1] = format.plural(arms.most_runs(list), "run") .. " per arm"
  if format.number(result.duration_s) then
    found[#found + 1] = "took " .. format.value(result.duration_s, "seconds")
  end
  if result.seed then
    found[#found + 1] = "seed " .. tostring(result.seed)
  end
  return found
end

local REPEATED = "Bold: the median run (%s); faint: the others; shaded: the fault; cross: the server's end."

local ONCE = "%s arms on one time axis; shaded: the fault; cross: the server's end."

-- How to read the charts, with the run that is drawn bold.
local function legend(list)
  if arms.most_runs(list) < 2 then
    return #list == 1 and "Shaded: the fault; cross: the server's end."
      or ONCE:format(#list == 2 and "Both" or "All")
  end
  local bold = {}
  for _, arm in ipairs(list) do
    if arm.representative then
      bold[#bold + 1] = ("run %d of %s"):format(arm.representative.index, arm.name)
    end
  end
  return REPEATED:format(format.list(bold))
end

local function charts(result, list)
  local made = {}
  for _, spec in ipairs(result.charts or {}) do
    made[#made + 1] = chart.build(spec, list)
  end
  return made
end

---@class wsb.report.Model
---@field name string
---@field description string
---@field facts string[]
---@field verdict {word: string, sign: string, tone: string, statement: string, reasons: string[]}
---@field overview wsb.report.Table
---@field differences wsb.report.Table
---@field charts wsb.report.Chart[]
---@field legend string
---@field closes wsb.report.Table
---@field thresholds wsb.report.Table
---@field statistics {tables: wsb.report.Table[], warning: string?, notes: string[]}
---@field writeup {lever: string, why: string, alternatives: {name: string, effect: string}[]}?
---@field method {sentences: string[], load: wsb.report.Table}
---@field options wsb.report.Table
---@field environment wsb.report.Table
---@field command string

---@param result table  -- schema wsb.result/1, with its series
---@return wsb.report.Model
function model.build(result)
  local list = arms.view(result)
  return {
    name = result.name,
    description = result.description or "",
    facts = facts(result, list),
    verdict = model.verdict(result),
    overview = tables.overview(result, list),
    differences = tables.differences(list),
    charts = charts(result, list),
    legend = legend(list),
    closes = closes.build(list),
    thresholds = tables.thresholds(list),
    statistics = comparison.build(result, list),
    writeup = result.writeup,
    method = { sentences = method.sentences(result, list), load = method.load_table(list) },
    options = method.pairs_table("options", "Options of this run", result.options),
    environment = method.pairs_table("environment", "Environment", result.environment),
    command = result.command or "",
  }
end

return model
