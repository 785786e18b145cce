-- How it was measured: the limit, the load, the surroundings.

local arms = require "wsb.report.arms"
local format = require "wsb.report.format"

local method = {}

local FIGURES = {
  { "publish_offered", "messages offered", "count" },
  { "publish_bytes", "payload offered", "bytes" },
  { "clients", "clients", "count" },
  { "lateness_p99_s", "generator lateness p99", "seconds" },
}
-- Lateness is how well the plan was kept, not part of it.
local PLAN = { "schedule_hash", "publish_offered", "publish_bytes", "clients" }

local function every_run(list)
  local runs = {}
  for _, arm in ipairs(list) do
    table.move(arm.runs, 1, #arm.runs, #runs + 1, runs)
  end
  return runs
end

local function fingerprint_values(arm, field)
  local values = {}
  for _, run in ipairs(arm.runs) do
    values[#values + 1] = format.number((run.fingerprint or {})[field])
  end
  return values
end

local function hash_text(arm)
  local hash
  for _, run in ipairs(arm.runs) do
    local own = (run.fingerprint or {}).schedule_hash
    if hash and own ~= hash then
      return "differs between runs"
    end
    hash = own
  end
  return hash and tostring(hash) or format.NONE
end

---The offered load as each arm received it.
---@param list wsb.report.Arm[]
---@return wsb.report.Table
function method.load_table(list)
  local columns, rows = { { title = "offered load" } }, {}
  for i, figure in ipairs(FIGURES) do
    rows[i] = { { text = figure[2] } }
  end
  local hash = { { text = "schedule hash" } }
  for place, arm in ipairs(list) do
    columns[place + 1] = { title = arm.name, numeric = true }
    for i, figure in ipairs(FIGURES) do
      rows[i][place + 1] = { text = arms.summary(fingerprint_values(arm, figure[1]), figure[3]) }
    end
    hash[place + 1] = { text = hash_text(arm) }
  end
  rows[#rows + 1] = hash
  return { id = "load", title = "Offered load", columns = columns, rows = rows }
end

local function load_sentence(list)
  local runs = every_run(list)
  if not runs[1] then
    return "Nothing ran."
  end
  for _, run in ipairs(runs) do
    for _, field in ipairs(PLAN) do
      local first, own = (runs[1].fingerprint or {})[field], (run.fingerprint or {})[field]
      if own == nil then
        return "The offered load of some runs is not known."
      elseif own ~= first then
        return "The offered load was not the same in every run: compare with care."
      end
    end
  end
  return ("The offered load was the same in all %d runs, message for message."):format(#runs)
end

local function limit_sentences(limit, sentences)
  if not limit then
    sentences[#sentences + 1] = "The server had no memory limit."
    return
  end
  local size = format.value(limit.bytes, "bytes")
  sentences[#sentences + 1] = ("The server's memory was limited to %s by %s."):format(size, limit.kind)
  if limit.kind == "cgroup v1" then
    sentences[#sentences + 1] = "The kernel memory of its sockets, drawn on top, is not charged to it."
  end
  if limit.why and limit.why ~= "" then
    sentences[#sentences + 1] = ("Why not by a cgroup: %s."):format((limit.why:gsub("%.$", "")))
  end
end

-- The kernel's own account of how an arm's representative run ended.
local function evidence_sentences(list, sentences)
  for _, arm in ipairs(list) do
    local run = arm.representative
    if run and run.outcome.evidence then
      sentences[#sentences + 1] = ("%s, run %d, %s: %s."):format(arm.name, run.index, run.outcome.text,
        run.outcome.evidence)
    end
  end
end

---@param result table
---@param list wsb.report.Arm[]
---@return string[]
function method.sentences(result, list)
  local sentences = {}
  limit_sentences(result.limit, sentences)
  evidence_sentences(list, sentences)
  sentences[#sentences + 1] = load_sentence(list)
  local n = arms.most_runs(list)
  if n > 1 then
    sentences[#sentences + 1] = ("%s per arm, alternating."):format(format.plural(n, "run"))
  end
  return sentences
end

---Name and value, one a row, such as the environment.
---@param id string
---@param title string
---@param pairs_list {name: string, value: any, help: string?}[]?
---@return wsb.report.Table
function method.pairs_table(id, title, pairs_list)
  local columns, rows = { { title = "name" }, { title = "value" } }, {}
  for i, entry in ipairs(pairs_list or {}) do
    rows[i] = { { text = entry.name }, { text = tostring(entry.value) }, { text = entry.help or "" } }
    if entry.help then
      columns[3] = { title = "meaning" }
    end
  end
  return { id = id, title = title, columns = columns, rows = rows }
end

return method
