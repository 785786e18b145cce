-- report.html: one file, no script, nothing fetched. It is read from the verdict down to the last detail.

local markup = require "wsb.report.markup"
local model = require "wsb.report.model"
local style = require "wsb.report.style"
local svg = require "wsb.report.svg"

local html = {}

local E = markup.elements

local FIRST_CHART, OTHER_CHARTS = 280, 190 -- px: the first is the one to look at

local SENTENCE = 32 -- characters: what is longer in a column of numbers may wrap

local function notes(texts)
  local drawn = {}
  for i, text in ipairs(texts or {}) do
    drawn[i] = E.p { class = "note", text }
  end
  return drawn
end

-- Numbers stand to the right on one line; sentences among them may wrap.
local function cell_class(column, cell)
  local classes = {}
  if column.numeric then
    classes[1] = "number"
    if utf8.len(cell.text) > SENTENCE then
      classes[2] = "words"
    end
  end
  classes[#classes + 1] = cell.tone
  return classes[1] and table.concat(classes, " ") or false
end

local function head_row(columns)
  local row = {}
  for i, column in ipairs(columns) do
    row[i] = column.title == "" and E.td {}
      or E.th { scope = "col", class = column.numeric and "number" or false, column.title }
  end
  return E.tr(row)
end

local function body_row(columns, cells)
  local row = { E.th { scope = "row", cells[1].text } }
  for i = 2, #columns do
    row[i] = E.td { class = cell_class(columns[i], cells[i]), cells[i].text }
  end
  return E.tr(row)
end

local function table_of(spec)
  local rows = {}
  for i, cells in ipairs(spec.rows) do
    rows[i] = body_row(spec.columns, cells)
  end
  return E.div {
    class = "scroll",
    role = "region",
    tabindex = 0,
    ["aria-label"] = spec.title,
    E.table { id = spec.id, E.thead { head_row(spec.columns) }, E.tbody(rows) },
  }
end

-- A table under its heading, or nothing when it has no rows.
local function section(spec)
  return spec.rows[1] and E.section { E.h2 { spec.title }, table_of(spec), notes(spec.notes) } or false
end

local function banner(verdict)
  local reasons = {}
  for i, reason in ipairs(verdict.reasons) do
    reasons[i] = E.li { reason }
  end
  return E.section {
    class = "verdict tone-" .. verdict.tone,
    ["aria-label"] = "Verdict",
    E.p {
      E.span { class = "word", (verdict.sign and verdict.sign .. " " or "") .. verdict.word },
      " ", -- for those who copy or hear it
      E.span { class = "what", verdict.statement },
    },
    reasons[1] and E.ul(reasons) or false,
  }
end

local function charts(report)
  if not report.charts[1] then
    return false
  end
  local heading, wide = report.charts_title or "What happened", report.wide_charts
  local figures = {}
  for i, chart in ipairs(report.charts) do
    local title = chart.log and chart.title .. ", logarithmic" or chart.title
    figures[i] = E.figure {
      E.figcaption { E.h3 { title } },
      svg.draw(chart, "chart-" .. i, (wide or i == 1) and FIRST_CHART or OTHER_CHARTS),
    }
  end
  return E.section {
    E.h2 { heading },
    E.p { class = "note", report.legend },
    E.div { class = wide and "charts wide" or "charts", figures },
  }
end

local function statistics(found)
  if not found.warning and not found.tables[1] then
    return false
  end
  local drawn = { E.h2 { "Could it be chance?" } }
  if found.warning then
    drawn[#drawn + 1] = E.p { found.warning }
  end
  for _, spec in ipairs(found.tables) do
    drawn[#drawn + 1] = { E.h3 { spec.title }, table_of(spec) }
  end
  return E.section { drawn, notes(found.notes) }
end

local function writeup(text)
  if not text then
    return false
  end
  local others = {}
  for _, alternative in ipairs(text.alternatives or {}) do
    others[#others + 1] = E.dt { alternative.name }
    others[#others + 1] = E.dd { alternative.effect }
  end
  return E.section {
    E.h2 { "The lever: " .. text.lever },
    E.p { text.why },
    others[1] and { E.h3 { "What else was considered" }, E.dl(others) } or false,
  }
end

local function how_measured(found)
  return E.section {
    E.h2 { "How it was measured" },
    E.p { table.concat(found.sentences, " ") },
    table_of(found.load),
  }
end

local function replay(command)
  return command ~= "" and E.section { E.h2 { "Run it again" }, E.pre { E.code { command } } } or false
end

-- What stands first is the same in every report: facts, name, description, verdict.
local function page(report, sections)
  return "<!DOCTYPE html>\n" .. markup.print(E.html {
    lang = "en",
    E.head {
      E.meta { charset = "utf-8" },
      E.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
      E.meta { name = "color-scheme", content = "light dark" },
      E.title { ("%s: %s"):format(report.name, report.verdict.word) },
      E.style { markup.raw(style) },
    },
    E.body { E.main {
      E.p { class = "facts", table.concat(report.facts, " · ") },
      E.h1 { report.name },
      E.p { class = "claim", report.description },
      banner(report.verdict),
      sections,
      replay(report.command),
    } },
  }) .. "\n"
end

---A report that is one table.
---@param report {name: string, description: string, facts: string[], verdict: table, command: string}
---@param spec wsb.report.Table
---@return string
function html.table_page(report, spec)
  return page(report, { section(spec) })
end

---A report in which tables come before and after the charts: a sweep's.
---@param report wsb.report.Sheet
---@return string
function html.sheet(report)
  local before, after = {}, {}
  for i, spec in ipairs(report.tables) do
    before[i] = section(spec)
  end
  for i, spec in ipairs(report.appendix) do
    after[i] = section(spec)
  end
  return page(report, { charts(report), before, writeup(report.writeup), after })
end

---@param result table  -- schema wsb.result/1, with its series
---@return string
function html.render(result)
  local report = model.build(result)
  return page(report, {
    section(report.overview),
    section(report.differences),
    charts(report),
    section(report.closes),
    section(report.thresholds),
    statistics(report.statistics),
    writeup(report.writeup),
    how_measured(report.method),
    section(report.options),
    section(report.environment),
  })
end

return html
