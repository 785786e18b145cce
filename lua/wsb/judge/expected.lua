-- What a sweep has measured, as its script asks for it, and the verdict on what was expected of it.

local errors = require "wsb.base.errors"
local stats = require "wsb.judge.stats"
local suggest = require "wsb.command.suggest"

local expected = {}

---@class wsb.Results
---@field points number[]                 ascending
---@field least number                    the first of them
---@field most number                     the last
---@field arms string[]                   those that ran
---@field opt table<string, any>          the script's options
---@field private columns table<string, wsb.SweepColumn>
---@field private over {label: string, unit: string}
---@field private by_arm table<string, table[]>
---@field private write wsb.Spelling
local Results = { __name = "wsb.Results" }
Results.__index = Results

---@class wsb.Spelling  -- figures for people
---@field value fun(value: number?, unit: string): string
---@field point fun(value: number, over: {label: string, unit: string}): string

---@class wsb.Expectation
---@field text string     what was expected, with the figures
---@field held boolean?   nil: it could not be told

---@param result table  schema wsb.sweep/1, without its verdict
---@param opt table<string, any>
---@param write wsb.Spelling
---@return wsb.Results
function expected.results(result, opt, write)
  local self = setmetatable({ points = result.over.values, opt = opt, arms = {}, by_arm = {}, columns = {},
    over = result.over, write = write }, Results)
  self.least, self.most = self.points[1], self.points[#self.points]
  for i, arm in ipairs(result.arms) do
    self.arms[i], self.by_arm[arm.name] = arm.name, arm.runs
  end
  for _, column in ipairs(result.columns) do
    self.columns[column.name] = column
  end
  return self
end

-- A column that is not there is the script's mistake; an arm may have been left out.
local function column_of(self, name)
  if self.columns[name] then return self.columns[name] end
  local names = {}
  for known in pairs(self.columns) do
    table.insert(names, known)
  end
  errors.raise(errors.SCRIPT, "expect(results): '%s': no such column: %s", tostring(name),
    suggest.remedy(tostring(name), names))
end

---What every repetition measured; empty when the arm did not run there.
---@param arm string
---@param point number
---@param column string
---@return number[]
function Results:values(arm, point, column)
  local values = {}
  column_of(self, column)
  for _, run in ipairs(self.by_arm[arm] or {}) do
    if run.point == point then values[#values + 1] = run.values[column] end
  end
  return values
end

---@param arm string
---@param point number
---@param column string
---@return number?
function Results:median(arm, point, column)
  return stats.median(self:values(arm, point, column))
end

---A median for people.
---@param arm string
---@param point number
---@param column string
---@return string
function Results:format(arm, point, column)
  return self.write.value(self:median(arm, point, column), column_of(self, column).unit)
end

local PARTS = { [1] = "less than", [2] = "less than half of" }

---The expectation that one arm has less of something than another, judged by medians. With `factor` 2 it has
---to be less than half.
---@param column string
---@param less string   name of an arm
---@param more string   name of another
---@param point? number  the last one
---@param factor? number  1
---@return wsb.Expectation
function Results:less(column, less, more, point, factor)
  point, factor = point or self.most, factor or 1
  local a, b = self:median(less, point, column), self:median(more, point, column)
  local held
  if a and b then held = a * factor < b end
  return { held = held, text = ("%s at %s: %s %s, %s %s %s"):format(column_of(self, column).label,
    self.write.point(point, self.over), less, self:format(less, point, column),
    PARTS[factor] or ("less than 1/%g of"):format(factor), more, self:format(more, point, column)) }
end

local HELD, FAILED, UNKNOWN = "held", "did not hold", "could not be told"

---@param held boolean?
---@return string
function expected.word(held)
  if held == nil then return UNKNOWN end
  return held and HELD or FAILED
end

---@param list wsb.Expectation[]
---@param doubts string[]  why what was measured may be wrong
---@return {word: "PROVEN"|"REFUTED"|"INCONCLUSIVE", reasons: string[]}
function expected.judge(list, doubts)
  local reasons = table.move(doubts, 1, #doubts, 1, {})
  local failed, unknown = false, false
  for _, one in ipairs(list) do
    failed, unknown = failed or one.held == false, unknown or one.held == nil
    if not one.held then table.insert(reasons, ("%s: %s"):format(expected.word(one.held), one.text)) end
  end
  local word = failed and "REFUTED" or unknown and "INCONCLUSIVE" or "PROVEN"
  return { word = #doubts > 0 and "INCONCLUSIVE" or word, reasons = reasons }
end

return expected
