-- Before against after: how much it changed, and whether so few runs can tell.

local arms = require "wsb.report.arms"
local format = require "wsb.report.format"
local stats = require "wsb.judge.stats"

local comparison = {}

-- Below this factor a change is easier to read in per cent.
local PERCENT_BELOW = 2

local function tone(base, treatment, better)
  if base == treatment or not better then
    return nil
  end
  return (treatment < base) == (better == "lower") and "good" or "bad"
end

local function factor_text(base, treatment)
  local factor = treatment / base
  local up = factor > 1
  local size = up and factor or 1 / factor
  if size < PERCENT_BELOW then
    return ("%s%s %%"):format(up and "+" or "−", format.factor(math.abs(factor - 1) * 100))
  end
  return ("%s× %s"):format(format.factor(size), up and "higher" or "lower")
end

local function change_text(base, treatment, unit)
  if base == treatment then
    return "same median"
  elseif base == math.huge then
    return "was " .. format.value(base, unit)
  elseif treatment == math.huge then
    return "now " .. format.value(treatment, unit)
  elseif unit == "ratio" then
    local points = (treatment - base) * 100
    return ("%s%s points"):format(points > 0 and "+" or "−", format.factor(math.abs(points)))
  elseif base <= 0 or treatment <= 0 then
    return ("%s → %s"):format(format.value(base, unit), format.value(treatment, unit))
  end
  return factor_text(base, treatment)
end

local function all_equal(a, b)
  for _, values in ipairs { a, b } do
    for _, value in ipairs(values) do
      if value ~= a[1] then
        return false
      end
    end
  end
  return true
end

-- Whether n allows a verdict on a difference, and the samples show none.
local function insignificant(a, b)
  return stats.smallest_p(#a, #b) < stats.ALPHA and stats.mann_whitney(a, b) >= stats.ALPHA
end

---A cell that says how the median moved from base to treatment; "~" when it cannot be told from chance.
---@param base number[]
---@param treatment number[]
---@param measure {unit: string, better: string?}
---@return {text: string, tone: string?}
function comparison.change(base, treatment, measure)
  local from, to = stats.median(base), stats.median(treatment)
  if not from or not to then
    return { text = format.NONE }
  elseif all_equal(base, treatment) then
    return { text = "same" }
  elseif insignificant(base, treatment) then
    return { text = "~" }
  end
  return { text = change_text(from, to, measure.unit), tone = tone(from, to, measure.better) }
end

local function died(arm)
  local deaths = 0
  for _, run in ipairs(arm.runs) do
    if run.outcome.kind ~= "alive" then
      deaths = deaths + 1
    end
  end
  return deaths
end

local function of(hits, n)
  return ("%d of %d"):format(hits, n)
end

local function outcome_row(outcomes, base, treatment)
  local hits1, hits2 = died(base), died(treatment)
  local p = stats.fisher(hits1, #base.runs, hits2, #treatment.runs)
  return {
    { text = outcomes.label },
    { text = of(hits1, #base.runs) },
    { text = of(hits2, #treatment.runs) },
    p >= stats.ALPHA and { text = "~" } or hits2 < hits1 and { text = "fewer", tone = "good" }
      or { text = "more", tone = "bad" },
    { text = format.p(p) },
    { text = ("%d+%d"):format(#base.runs, #treatment.runs) },
    { text = format.NONE },
  }
end

local function interval_text(interval)
  if not interval then
    return format.NONE
  end
  return ("%s (%s–%s)"):format(format.factor(interval.ratio), format.factor(interval.low),
    format.factor(interval.high))
end

local function metric_row(measure, base, treatment, seed)
  local a, b = arms.sample(base, measure.metric), arms.sample(treatment, measure.metric)
  local row = {
    { text = measure.label },
    { text = arms.summary(a, measure.unit) },
    { text = arms.summary(b, measure.unit) },
    comparison.change(a, b, measure),
    { text = format.p(stats.mann_whitney(a, b)) },
    { text = ("%d+%d"):format(#a, #b) },
    { text = interval_text(stats.ratio_interval(a, b, seed)) },
  }
  if #a > 0 and #b > 0 and stats.smallest_p(#a, #b) >= stats.ALPHA then
    row[4] = { text = "~" }
  end
  return row
end

local N_COLUMN, INTERVAL_COLUMN = 6, 7

local function columns(base, treatment)
  return {
    { title = "" },
    { title = base.name, numeric = true },
    { title = treatment.name, numeric = true },
    { title = "change", numeric = true },
    { title = "p", numeric = true },
    { title = "n", numeric = true },
    { title = ("%s/%s (95 %% interval)"):format(treatment.name, base.name), numeric = true },
  }
end

-- A column that says the same in every row is not worth its width.
local function drop_if_all(text, column, rows, heads)
  for _, row in ipairs(rows) do
    if row[column].text ~= text then
      return false
    end
  end
  table.remove(heads, column)
  for _, row in ipairs(rows) do
    table.remove(row, column)
  end
  return true
end

local function one_table(result, base, treatment)
  local rows = {}
  if result.outcomes then
    rows[1] = outcome_row(result.outcomes, base, treatment)
  end
  for _, measure in ipairs(result.comparison or {}) do
    rows[#rows + 1] = metric_row(measure, base, treatment, result.seed)
  end
  local heads = columns(base, treatment)
  local dropped = drop_if_all(format.NONE, INTERVAL_COLUMN, rows, heads)
  local n1, n2 = #base.runs, #treatment.runs
  drop_if_all(("%d+%d"):format(n1, n2), N_COLUMN, rows, heads)
  return {
    id = "statistics-" .. treatment.style,
    title = ("%s against %s, n = %d + %d runs"):format(treatment.name, base.name, n1, n2),
    columns = heads,
    rows = rows,
    has_interval = not dropped,
  }
end

local function enough_runs()
  local n = 1
  while stats.smallest_p(n, n) >= stats.ALPHA do
    n = n + 1
  end
  return n
end

local ONE_RUN = "One run per arm shows what happened, not how often it does. With %d runs per arm "
  .. "(--repeat %d) the smallest possible p is %s."
local TOO_SMALL = "n is too small to tell: with %d + %d runs no p can be below %s. With %d runs per arm "
  .. "(--repeat %d) the smallest possible p is %s."

-- The sentence that keeps a reader from taking too few runs for proof; nil when there are enough.
local function too_small(base, treatment)
  local smallest = stats.smallest_p(#base.runs, #treatment.runs)
  if smallest < stats.ALPHA then
    return nil
  end
  local enough = enough_runs()
  local best = format.p(stats.smallest_p(enough, enough))
  if #base.runs == 1 and #treatment.runs == 1 then
    return ONE_RUN:format(enough, enough, best)
  end
  return TOO_SMALL:format(#base.runs, #treatment.runs, format.p(smallest), enough, enough, best)
end

local LEGEND = "Medians, in brackets the least and the most; n counts runs. p: two-sided, %s, not "
  .. "adjusted for the number of rows; ~ marks a difference that cannot be told from chance at 0.05."
local TESTS_WITH_COUNTS = "Fisher's exact test for counts of runs and Mann-Whitney for the rest"
local TESTS = "Mann-Whitney"
local NO_INTERVAL = "No interval of the ratio: it takes %d runs per arm and values finite and above zero."
local INTERVAL_LEGEND = "The ratio is that of the medians, its interval a bootstrap percentile interval."

local function has_interval(tables)
  for _, entry in ipairs(tables) do
    if entry.has_interval then
      return true
    end
  end
  return false
end

local function repeated_notes(result, tables, base, treatments)
  local notes = { LEGEND:format(result.outcomes and TESTS_WITH_COUNTS or TESTS) }
  if has_interval(tables) then
    notes[2] = INTERVAL_LEGEND
  elseif base and treatments[1] then
    notes[2] = NO_INTERVAL:format(stats.INTERVAL_RUNS)
  end
  return notes
end

---Tables of counts, medians and p for each treatment against the base, with the sentences that go with them.
---@param result table
---@param list wsb.report.Arm[]
---@return {tables: table[], warning: string?, notes: string[]}
function comparison.build(result, list)
  local base, treatments = arms.split(list)
  local warning, tables = nil, {}
  for _, treatment in ipairs(base and treatments or {}) do
    warning = warning or too_small(base, treatment)
    if arms.most_runs { base, treatment } > 1 then
      tables[#tables + 1] = one_table(result, base, treatment)
    end
  end
  local notes = tables[1] and repeated_notes(result, tables, base, treatments) or {}
  return { tables = tables, warning = warning, notes = notes }
end

return comparison
