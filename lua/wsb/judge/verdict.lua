-- The verdict, from what the runs left. Pure: a table in, a table out.
--
--     doubt about any run, or about the load being the same   INCONCLUSIVE
--     the base arm did not fail as expected in every run      INCONCLUSIVE
--     the treatment failed in any run                         REFUTED
--     otherwise                                               PROVEN
--
-- Of a server that is not wsb's, there is one arm and no base:
--
--     doubt about any run, or nothing of it could be judged   INCONCLUSIVE
--     a run ended early, or failed a threshold                FAILED
--     otherwise                                               HELD

local verdict = {}

---@class wsb.JudgedRun
---@field index integer
---@field outcome {kind: "alive"|"killed"|"aborted"|"exited", text: string}
---@field thresholds {metric: string, expression: string, value: number?, held: boolean?, why: string?}[]
---@field doubts string[]       what else speaks against using the run
---@field fingerprint {publish_offered: integer, publish_bytes: integer, schedule_hash: string,
---  clients: integer, lateness_p99_s: number}

---@class wsb.JudgedArm
---@field name string
---@field role "base"|"treatment"
---@field expect "pass"|"fail"|"any"
---@field runs wsb.JudgedRun[]

local FINGERPRINT = {
  { "publish_offered", "messages offered" },
  { "publish_bytes", "bytes offered" },
  { "schedule_hash", "schedule hash" },
  { "clients", "clients" },
}

-- A run fails by a threshold that did not hold, or by dying of memory.
local function failure(run)
  if run.outcome.kind == "killed" or run.outcome.kind == "aborted" then return run.outcome.text end
  for _, t in ipairs(run.thresholds) do
    if t.held == false then return ("%s %s did not hold"):format(t.metric, t.expression) end
  end
  return nil
end

local function about(arm, run, reasons)
  return function(format, ...)
    table.insert(reasons, ("%s, run %d: "):format(arm.name, run.index) .. format:format(...))
  end
end

local function doubts_of_load(arm, run, max_lateness_s, reasons)
  local doubt = about(arm, run, reasons)
  for _, text in ipairs(run.doubts) do
    doubt("%s", text)
  end
  local late = run.fingerprint.lateness_p99_s
  if late > max_lateness_s then
    doubt("the generator was late: p99 %.1f ms, allowed %.1f ms", late * 1e3, max_lateness_s * 1e3)
  end
end

local function doubts_of_run(arm, run, max_lateness_s, reasons)
  local doubt = about(arm, run, reasons)
  doubts_of_load(arm, run, max_lateness_s, reasons)
  if run.outcome.kind == "exited" then doubt("the server ended for another reason: %s", run.outcome.text) end
  for _, t in ipairs(run.thresholds) do
    if t.held == nil then doubt("%s %s: no value (%s)", t.metric, t.expression, t.why or "missing") end
  end
end

local function mismatches(arms, reasons)
  for _, arm in ipairs(arms) do
    for i, run in ipairs(arm.runs) do
      local other = arms[1].runs[i]
      for _, field in ipairs(FINGERPRINT) do
        local a, b = other and other.fingerprint[field[1]], run.fingerprint[field[1]]
        if a ~= b then
          table.insert(reasons, ("run %d: the load differed: %s %s in %s, %s in %s"):format(run.index,
            field[2], tostring(a), arms[1].name, tostring(b), arm.name))
        end
      end
    end
  end
end

-- How many runs of the arm failed, and the first failure in words.
local function tally(arm)
  local failed, first = 0, nil
  for _, run in ipairs(arm.runs) do
    local why = failure(run)
    if why then
      failed, first = failed + 1, first or why
    end
  end
  return failed, first
end

local function runs(count, total)
  return total == 1 and "" or (" in %d of %d runs"):format(count, total)
end

-- Whether the arm did as expected, in words.
local function judge(arm)
  local failed, first = tally(arm)
  local total = #arm.runs
  if arm.expect == "fail" then
    if failed == total then return true, ("%s failed%s: %s"):format(arm.name, runs(failed, total), first) end
    local passed = runs(total - failed, total)
    return false, ("%s did not fail%s: nothing to fix was shown"):format(arm.name, passed)
  end
  if failed == 0 then return true, ("%s held%s"):format(arm.name, runs(total, total)) end
  return false, ("%s failed%s: %s"):format(arm.name, runs(failed, total), first)
end

-- Of an arm that may do either nothing is expected: it is measured to be seen.
local function of_interest(arms)
  local list = {}
  for _, arm in ipairs(arms) do
    if arm.expect ~= "any" then table.insert(list, arm) end
  end
  return list
end

---@param arms wsb.JudgedArm[]
---@param max_lateness_s number  largest p99 of the generator's lateness that a verdict stands on
---@return {word: "PROVEN"|"REFUTED"|"INCONCLUSIVE", reasons: string[]}
function verdict.decide(arms, max_lateness_s)
  local doubts = {}
  for _, arm in ipairs(arms) do
    if #arm.runs == 0 then table.insert(doubts, arm.name .. " was not run") end
    for _, run in ipairs(arm.runs) do
      doubts_of_run(arm, run, max_lateness_s, doubts)
    end
  end
  mismatches(arms, doubts)
  if #doubts > 0 then return { word = "INCONCLUSIVE", reasons = doubts } end

  local word, reasons = "PROVEN", {}
  for _, arm in ipairs(of_interest(arms)) do
    local as_expected, reason = judge(arm)
    if not as_expected and arm.role == "base" then word = "INCONCLUSIVE" end
    if not as_expected and arm.role == "treatment" and word == "PROVEN" then word = "REFUTED" end
    table.insert(reasons, reason)
  end
  return { word = word, reasons = reasons }
end

-- All that a run failed by.
local function failures(run)
  local list = {}
  if run.outcome.kind ~= "alive" then table.insert(list, run.outcome.text) end
  for _, t in ipairs(run.thresholds) do
    if t.held == false then table.insert(list, ("%s %s did not hold"):format(t.metric, t.expression)) end
  end
  return list
end

-- How many thresholds of the run were judged; the others are said once, not guessed.
local function judged(arm, run, reasons)
  local tell, count = about(arm, run, reasons), 0
  for _, t in ipairs(run.thresholds) do
    if t.held ~= nil then
      count = count + 1
    else
      tell("%s %s was not measured: %s", t.metric, t.expression, t.why or "missing")
    end
  end
  return count
end

---The verdict on a server that is not wsb's.
---@param arms wsb.JudgedArm[]   one
---@param max_lateness_s number
---@return {word: "HELD"|"FAILED"|"INCONCLUSIVE", reasons: string[]}
function verdict.of_one(arms, max_lateness_s)
  local arm, word, doubts, reasons = arms[1], "HELD", {}, {}
  for _, run in ipairs(arm.runs) do
    doubts_of_load(arm, run, max_lateness_s, doubts)
    local failed = failures(run)
    for _, why in ipairs(failed) do
      about(arm, run, reasons)("%s", why)
    end
    if judged(arm, run, reasons) == 0 and #failed == 0 then
      about(arm, run, doubts)("nothing could be judged")
    end
    if #failed > 0 then word = "FAILED" end
  end
  if #doubts == 0 then return { word = word, reasons = reasons } end
  return { word = "INCONCLUSIVE", reasons = table.move(reasons, 1, #reasons, #doubts + 1, doubts) }
end

return verdict
