-- The result of a script of checks: the same table on a terminal, in report.md and in report.html.

local core = require "wsb.core"
local html = require "wsb.report.html"
local markdown = require "wsb.report.markdown"
local text = require "wsb.report.text"

local report = {}

local TONES = { held = "good", FAILED = "bad", ["n/a"] = "open" }
local WORD_TONES = { HELD = "good", FAILED = "bad", INCONCLUSIVE = "open" }
local COLUMNS = { { title = "guard" }, { title = "sent" }, { title = "expected" }, { title = "came back" },
  { title = "verdict" } }

local function table_of(result)
  local rows = {}
  for i, row in ipairs(result.rows) do
    rows[i] = { { text = row.name }, { text = row.sent }, { text = row.expected },
      { text = row.came or row.reason }, { text = row.verdict, tone = TONES[row.verdict] } }
  end
  return { title = "Guards", id = "checks", columns = COLUMNS, rows = rows }
end

local function statement(result)
  return ("%d held, %d failed, %d not applicable"):format(result.held, result.failed, result.not_applicable)
end

local function facts(result)
  return { result.started, core.format("duration", result.duration_s), "wsb " .. core.version }
end

---@param result table  schema wsb.checks/1
---@param options {color: boolean?, width: integer?}
---@return string  ends with the verdict
function report.text(result, options)
  local word = text.paint(result.verdict, WORD_TONES[result.verdict], options.color)
  return text.table(table_of(result), options.width or 100, options.color)
    .. ("\n%s  %s\n"):format(word, statement(result))
end

---@param result table
---@return string
function report.markdown(result)
  return table.concat({ "# " .. markdown.escape(result.name), "", markdown.escape(result.description), "",
    table.concat(facts(result), " · "), "", ("**%s** %s"):format(result.verdict, statement(result)), "",
    markdown.table(table_of(result)), "## Run it again", "", "```sh", result.command, "```", "" }, "\n")
end

---@param result table
---@return string  one file, nothing fetched
function report.html(result)
  return html.table_page({ name = result.name, description = result.description, facts = facts(result),
    verdict = { tone = WORD_TONES[result.verdict], word = result.verdict, statement = statement(result),
      reasons = {} },
    command = result.command }, table_of(result))
end

return report
