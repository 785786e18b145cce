-- What was measured, for people: a table a figure on stdout, the same with bars as a page.

local markup = require "wsb.report.markup"
local style = require "wsb.report.style"
local svg = require "wsb.report.svg"

local tell = {}

local E = markup.elements
local BAR, ROW, NAME, LETTER = 360, 22, 118, 7.5 -- px
local NAME_LETTERS, CHART = 14, 220

local function sorted(values)
  local list = table.move(values, 1, #values, 1, {})
  table.sort(list)
  return list
end

---@param values number[]
---@return number
function tell.median(values)
  local list = sorted(values)
  local middle = (#list + 1) // 2
  return #list % 2 == 1 and list[middle] or (list[middle] + list[middle + 1]) / 2
end

---Three digits that mean something.
---@param value number
---@return string
function tell.number(value)
  if value == math.huge then return "never" end
  if value == 0 then return "0" end
  if math.abs(value) >= 1000 then
    local text = ("%.0f"):format(value):reverse():gsub("(%d%d%d)", "%1,"):reverse()
    return (text:gsub("^,", ""))
  end
  return ("%.3g"):format(value)
end

-- By round, of which some may be missing.
local function listed(by_round)
  local list = {}
  for _, value in pairs(by_round) do list[#list + 1] = value end
  return list
end

---A figure as rows: of each contestant min, median and max, and its ratio to the floor: the median of the
---ratios of the same round, or that of the medians.
---@param figure {key: string, title: string, unit: string, base: string|false?, of_medians: boolean?}
---  base: with whom the others are compared instead, or false
---@param values table<string, table<string, table<integer, number>>>  by contestant, figure and round
---@param order string[]
---@return {name: string, min: number, median: number, max: number, ratio: number?}[]
function tell.rows(figure, values, order)
  local rows = {}
  local base = figure.base ~= false and (values[figure.base or "floor"] or {})[figure.key] or {}
  local base_median = figure.of_medians and next(base) and tell.median(listed(base))
  for _, name in ipairs(order) do
    local taken, ratios = {}, {}
    for round, value in pairs(values[name][figure.key] or {}) do
      taken[#taken + 1] = value
      if (base[round] or 0) > 0 and value ~= math.huge then ratios[#ratios + 1] = value / base[round] end
    end
    if #taken > 0 then
      local list = sorted(taken)
      local median, ratio = tell.median(list), #ratios > 0 and tell.median(ratios) or nil
      if ratio and base_median then ratio = median / base_median end
      rows[#rows + 1] = { name = name, min = list[1], median = median, max = list[#list], ratio = ratio }
    end
  end
  return rows
end

---@param figure {title: string, unit: string, base: string|false?}
---@param rows table  of tell.rows
---@return string
function tell.text(figure, rows)
  local wide, base = NAME_LETTERS, figure.base == nil and "floor" or figure.base
  for _, row in ipairs(rows) do wide = math.max(wide, #row.name + 2) end
  local line = ("  %%-%ds%%12s%%12s%%12s%%12s"):format(wide)
  local out = { ("%s, %s"):format(figure.title, figure.unit),
    line:format("", "min", "median", "max", base == "floor" and "to floor" or base and "ratio" or "") }
  for _, row in ipairs(rows) do
    out[#out + 1] = line:format(row.name, tell.number(row.min), tell.number(row.median), tell.number(row.max),
      row.ratio and ("%.3f"):format(row.ratio) or "")
  end
  return table.concat(out, "\n") .. "\n"
end

local function letters(x, y, text, anchor)
  return E.text { x = ("%.1f"):format(x), y = y + 15, ["text-anchor"] = anchor or "start", ["font-size"] = 13,
    fill = "currentColor", text }
end

local function bars(rows)
  local most, left = 0, NAME
  for _, row in ipairs(rows) do
    left = math.max(left, #row.name * LETTER + 8)
    if row.max ~= math.huge then most = math.max(most, row.max) end
  end
  local function wide(value) return most > 0 and math.min(value, most) / most * BAR or 0 end
  local drawn = {}
  for i, row in ipairs(rows) do
    local y = (i - 1) * ROW
    local colour = row.name == "wsb" and "var(--arm-1)" or "var(--arm-2)"
    drawn[i] = {
      letters(left - 8, y, row.name, "end"),
      E.rect { x = left, y = y + 4, width = ("%.1f"):format(wide(row.median)), height = ROW - 8,
        fill = colour },
      E.line { x1 = ("%.1f"):format(left + wide(row.min)), x2 = ("%.1f"):format(left + wide(row.max)),
        y1 = y + ROW / 2, y2 = y + ROW / 2, stroke = "currentColor" },
      letters(left + 8 + wide(row.max), y,
        tell.number(row.median) .. (row.ratio and (" (%.2f)"):format(row.ratio) or "")),
    }
  end
  return E.svg { role = "img", width = BAR + left + 142, height = #rows * ROW, drawn }
end

---@param spec {title: string, columns: string[], rows: string[][]}
---@return string
function tell.grid(spec)
  local wide = {}
  for _, row in ipairs { spec.columns, table.unpack(spec.rows) } do
    for i, cell in ipairs(row) do wide[i] = math.max(wide[i] or 0, utf8.len(cell)) end
  end
  local out = { spec.title }
  for _, row in ipairs { spec.columns, table.unpack(spec.rows) } do
    local cells = {}
    for i, cell in ipairs(row) do
      local space = (" "):rep(wide[i] - utf8.len(cell))
      cells[i] = i == 1 and cell .. space or space .. cell
    end
    out[#out + 1] = "  " .. table.concat(cells, "   ")
  end
  return table.concat(out, "\n") .. "\n"
end

local function grid(spec)
  local function line(cells, element)
    local drawn = {}
    for i, cell in ipairs(cells) do drawn[i] = element { class = i > 1 and "number" or nil, cell } end
    return E.tr { drawn }
  end
  local rows = {}
  for i, row in ipairs(spec.rows) do rows[i] = line(row, E.td) end
  return { E.h2 { spec.title }, E.table { E.thead { line(spec.columns, E.th) }, E.tbody { rows } } }
end

local function drawn_charts(charts)
  if #charts == 0 then return false end
  local figures = {}
  for i, one in ipairs(charts) do
    figures[i] = E.figure { E.figcaption { E.h3 { one.title .. (one.log and ", logarithmic" or "") } },
      svg.draw(one, "chart-" .. i, CHART) }
  end
  local legend = "Across: number or size, logarithmic but for memory. Bold: the median; faint: each round."
  return { E.p { class = "note", legend },
    E.div { class = "charts wide", figures } }
end

---@param result {figures: table[], grids: table[]?, notes: string[]}
---@return string
function tell.all(result)
  local out = {}
  for _, spec in ipairs(result.grids or {}) do out[#out + 1] = tell.grid(spec) .. "\n" end
  for _, figure in ipairs(result.figures) do out[#out + 1] = tell.text(figure, figure.rows) .. "\n" end
  for _, note in ipairs(result.notes) do out[#out + 1] = ("- %s\n"):format(note) end
  return table.concat(out)
end

---@param result table  of tell.all, with title and machine
---@param charts? wsb.report.Chart[]
---@return string
function tell.html(result, charts)
  local body = { drawn_charts(charts or {}) }
  for _, spec in ipairs(result.grids or {}) do body[#body + 1] = grid(spec) end
  for _, figure in ipairs(result.figures) do
    body[#body + 1] = { E.h2 { figure.title, ", ", figure.unit }, bars(figure.rows) }
  end
  local notes = {}
  for i, note in ipairs(result.notes) do notes[i] = E.li { note } end
  return "<!doctype html>\n" .. markup.print(E.html { lang = "en",
    E.head { E.meta { charset = "utf-8" },
      E.meta { name = "viewport", content = "width=device-width, initial-scale=1" },
      E.title { "wsb bench" }, E.style { markup.raw(style) } },
    E.body { E.main { E.h1 { result.title },
      E.p { class = "facts", result.machine },
      E.p { "Bars are medians, lines reach from the least to the most, in brackets the ratio to ",
        charts and "the first" or "the floor", "." },
      E.ul { notes }, body } } })
end

return tell
