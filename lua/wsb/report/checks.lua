-- The result of a script of checks: the same table on a terminal, in report.md and in report.html.

local core = require "wsb.core"
local markdown = require "wsb.report.markdown"
local markup = require "wsb.report.markup"
local style = require "wsb.report.style"
local text = require "wsb.report.text"

local report = {}

local E = markup.elements
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

local function html_row(cells)
  local row = {}
  for i, cell in ipairs(cells) do
    local tag = i == 1 and E.th or E.td
    row[i] = tag { scope = i == 1 and "row" or false, class = cell.tone or false, cell.text }
  end
  return E.tr(row)
end

local function html_table(spec)
  local titles, rows = {}, {}
  for i, column in ipairs(spec.columns) do
    titles[i] = E.th { scope = "col", column.title }
  end
  for i, cells in ipairs(spec.rows) do
    rows[i] = html_row(cells)
  end
  return E.div { class = "scroll", role = "region", tabindex = 0, ["aria-label"] = spec.title,
    E.table { id = spec.id, E.thead { E.tr(titles) }, E.tbody(rows) } }
end

---@param result table
---@return string  one file, nothing fetched
function report.html(result)
  return "<!DOCTYPE html>\n" .. markup.print(E.html { lang = "en",
    E.head {
      E.meta { charset = "utf-8" },
      E.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
      E.meta { name = "color-scheme", content = "light dark" },
      E.title { ("%s: %s"):format(result.name, result.verdict) },
      E.style { markup.raw(style) },
    },
    E.body { E.main {
      E.p { class = "facts", table.concat(facts(result), " · ") },
      E.h1 { result.name },
      E.p { class = "claim", result.description },
      E.section { class = "verdict tone-" .. WORD_TONES[result.verdict], ["aria-label"] = "Verdict",
        E.p { E.span { class = "word", result.verdict }, " ",
          E.span { class = "what", statement(result) } } },
      E.section { E.h2 { "Guards" }, html_table(table_of(result)) },
      E.section { E.h2 { "Run it again" }, E.pre { E.code { result.command } } },
    } } }) .. "\n"
end

return report
