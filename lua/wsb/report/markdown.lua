-- report.md: the tables, the write-up and the command, for a pull request or an incident page.

local format = require "wsb.report.format"
local model = require "wsb.report.model"

local markdown = {}

local ESCAPED = "[\\`*|<]"

local function escape(text)
  return (text:gsub(ESCAPED, "\\%0"):gsub("%s*\n%s*", " "))
end

local function add(lines, ...)
  for _, line in ipairs { ... } do
    lines[#lines + 1] = line
  end
end

local function table_row(texts)
  return "| " .. table.concat(texts, " | ") .. " |"
end

local function add_table(lines, spec)
  local titles, rules = {}, {}
  for i, column in ipairs(spec.columns) do
    titles[i] = escape(column.title)
    rules[i] = column.numeric and "---:" or "---"
  end
  add(lines, table_row(titles), table_row(rules))
  for _, cells in ipairs(spec.rows) do
    local texts = {}
    for i = 1, #spec.columns do
      texts[i] = escape(cells[i].text)
    end
    add(lines, table_row(texts))
  end
  add(lines, "")
end

local function add_notes(lines, notes)
  for _, note in ipairs(notes or {}) do
    add(lines, escape(note), "")
  end
end

local function add_section(lines, spec)
  if spec.rows[1] then
    add(lines, "## " .. escape(spec.title), "")
    add_table(lines, spec)
    add_notes(lines, spec.notes)
  end
end

local function add_head(lines, report)
  local verdict = report.verdict
  add(lines, "# " .. escape(report.name), "", escape(report.description), "")
  add(lines, escape(table.concat(report.facts, " · ")), "")
  add(lines, ("**%s** %s"):format(verdict.word, escape(verdict.statement)), "")
  for _, reason in ipairs(verdict.reasons) do
    add(lines, "- " .. escape(reason))
  end
  if verdict.reasons[1] then
    add(lines, "")
  end
end

local function add_statistics(lines, found)
  if not found.warning and not found.tables[1] then
    return
  end
  add(lines, "## Could it be chance?", "")
  add_notes(lines, { found.warning })
  for _, spec in ipairs(found.tables) do
    add(lines, "### " .. escape(spec.title), "")
    add_table(lines, spec)
  end
  add_notes(lines, found.notes)
end

local function add_writeup(lines, text)
  if not text then
    return
  end
  add(lines, "## The lever: " .. escape(text.lever), "", escape(text.why), "")
  for _, alternative in ipairs(text.alternatives or {}) do
    add(lines, ("- %s: %s"):format(escape(alternative.name), escape(alternative.effect)))
  end
  if (text.alternatives or {})[1] then
    add(lines, "")
  end
end

local function add_method(lines, found)
  add(lines, "## How it was measured", "", escape(table.concat(found.sentences, " ")), "")
  add_table(lines, found.load)
end

---@param text string
---@return string
markdown.escape = escape

---A table alone.
---@param spec wsb.report.Table
---@return string
function markdown.table(spec)
  local lines = {}
  add_table(lines, spec)
  return table.concat(lines, "\n")
end

local function add_command(lines, command)
  if command ~= "" then
    add(lines, "## Run it again", "", "```sh", command, "```", "")
  end
end

---What html.sheet says.
---@param report wsb.report.Sheet
---@return string
function markdown.sheet(report)
  local lines = {}
  add_head(lines, report)
  for _, spec in ipairs(report.tables) do
    add_section(lines, spec)
  end
  add_writeup(lines, report.writeup)
  for _, spec in ipairs(report.appendix) do
    add_section(lines, spec)
  end
  add_command(lines, report.command)
  return format.plain(table.concat(lines, "\n"))
end

---@param result table  -- schema wsb.result/1, with its series
---@return string
function markdown.render(result)
  local report, lines = model.build(result), {}
  add_head(lines, report)
  add_section(lines, report.overview)
  add_section(lines, report.differences)
  add_section(lines, report.closes)
  add_section(lines, report.thresholds)
  add_statistics(lines, report.statistics)
  add_writeup(lines, report.writeup)
  add_method(lines, report.method)
  add_section(lines, report.options)
  add_section(lines, report.environment)
  add_command(lines, report.command)
  return format.plain(table.concat(lines, "\n"))
end

return markdown
