-- What the tables and charts ask of an arm: its sample of a metric, and the one run that stands for it.

local format = require "wsb.report.format"
local stats = require "wsb.judge.stats"

local arms = {}

---@class wsb.report.Arm
---@field name string
---@field role "base"|"treatment"
---@field expect "pass"|"fail"|"any"
---@field options table<string, any>
---@field runs table[]
---@field representative table?  -- the median run
---@field style integer          -- index into the line styles of charts

---The values of a metric over the runs of an arm; runs in which it is missing are left out.
---@param arm wsb.report.Arm
---@param metric string
---@return number[]
function arms.sample(arm, metric)
  local values = {}
  for _, run in ipairs(arm.runs) do
    values[#values + 1] = format.number((run.metrics or {})[metric])
  end
  return values
end

---How many runs of an arm ended in each way, most frequent first.
---@param arm wsb.report.Arm
---@return {kind: string, runs: table[]}[]
function arms.outcomes(arm)
  local groups, by_kind = {}, {}
  for _, run in ipairs(arm.runs) do
    local kind = run.outcome.kind
    if not by_kind[kind] then
      by_kind[kind] = { kind = kind, runs = {} }
      groups[#groups + 1] = by_kind[kind]
    end
    table.insert(by_kind[kind].runs, run)
  end
  table.sort(groups, function(a, b)
    if #a.runs ~= #b.runs then
      return #a.runs > #b.runs
    end
    return a.kind < b.kind
  end)
  return groups
end

-- The middle run, by `metric`, of those that ended as most did.
local function median_run(arm, metric)
  local most = arms.outcomes(arm)[1]
  if not most then
    return nil
  end
  local function key(run)
    return format.number((run.metrics or {})[metric]) or math.huge
  end
  local sorted = table.move(most.runs, 1, #most.runs, 1, {})
  table.sort(sorted, function(a, b)
    if key(a) ~= key(b) then
      return key(a) < key(b)
    end
    return a.index < b.index
  end)
  return sorted[(#sorted + 1) // 2]
end

---@param result table
---@return wsb.report.Arm[]
function arms.view(result)
  local first = (result.comparison or {})[1]
  local list = {}
  for i, arm in ipairs(result.arms) do
    list[i] = { name = arm.name, role = arm.role, expect = arm.expect, options = arm.options or {},
      runs = arm.runs, style = i }
    list[i].representative = median_run(list[i], first and first.metric)
  end
  return list
end

---@param list wsb.report.Arm[]
---@return wsb.report.Arm? base
---@return wsb.report.Arm[] treatments
function arms.split(list)
  local base, treatments = nil, {}
  for _, arm in ipairs(list) do
    if arm.role == "base" then
      base = base or arm
    else
      treatments[#treatments + 1] = arm
    end
  end
  return base, treatments
end

---@param list wsb.report.Arm[]
---@return integer
function arms.most_runs(list)
  local most = 0
  for _, arm in ipairs(list) do
    most = math.max(most, #arm.runs)
  end
  return most
end

---"12.5 MiB", or of runs that differ "12.5 MiB (11.9–13.2 MiB)": the median, the least and the most.
---@param values number[]
---@param unit string
---@return string
function arms.summary(values, unit)
  local text = format.value(stats.median(values), unit)
  if #values < 2 then
    return text
  end
  local spread = format.range(stats.quantile(values, 0), stats.quantile(values, 1), unit)
  return spread == text and text or ("%s (%s)"):format(text, spread)
end

return arms
