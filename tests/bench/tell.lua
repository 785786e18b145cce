-- What was measured, for people: a table a figure on stdout, the same with bars as a page.

local markup = require "wsb.report.markup"
local style = require "wsb.report.style"

local tell = {}

local E = markup.elements
local BAR, ROW, NAME = 360, 22, 118 -- px

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

-- Three digits that mean something.
local function number(value)
  if value == math.huge then return "never" end
  if value == 0 then return "0" end
  if math.abs(value) >= 1000 then
    local text = ("%.0f"):format(value)
    return (text:reverse():gsub("(%d%d%d)(%d)", "%1,%2"):gsub("(%d%d%d)(%d)", "%1,%2"):reverse())
  end
  return ("%.3g"):format(value)
end

---A figure as rows: of each contestant min, median and max, and the ratio to the floor of the same round.
---@param figure {key: string, title: string, unit: string}
---@param values table<string, table<string, table<integer, number>>>  by contestant, figure and round
---@param order string[]
---@return {name: string, min: number, median: number, max: number, ratio: number?}[]
function tell.rows(figure, values, order)
  local rows = {}
  local floor = (values.floor or {})[figure.key] or {}
  for _, name in ipairs(order) do
    local taken, ratios = {}, {}
    for round, value in pairs(values[name][figure.key] or {}) do
      taken[#taken + 1] = value
      if (floor[round] or 0) > 0 and value ~= math.huge then ratios[#ratios + 1] = value / floor[round] end
    end
    if #taken > 0 then
      local list = sorted(taken)
      rows[#rows + 1] = { name = name, min = list[1], median = tell.median(list), max = list[#list],
        ratio = #ratios > 0 and tell.median(ratios) or nil }
    end
  end
  return rows
end

---@param figure {title: string, unit: string}
---@param rows table  of tell.rows
---@return string
function tell.text(figure, rows)
  local out = { ("%s, %s"):format(figure.title, figure.unit),
    ("  %-14s%12s%12s%12s%12s"):format("", "min", "median", "max", "to floor") }
  for _, row in ipairs(rows) do
    out[#out + 1] = ("  %-14s%12s%12s%12s%12s"):format(row.name, number(row.min), number(row.median),
      number(row.max), row.ratio and ("%.3f"):format(row.ratio) or "")
  end
  return table.concat(out, "\n") .. "\n"
end

local function letters(x, y, text, anchor)
  return E.text { x = ("%.1f"):format(x), y = y + 15, ["text-anchor"] = anchor or "start", ["font-size"] = 13,
    fill = "currentColor", text }
end

local function bars(rows)
  local most = 0
  for _, row in ipairs(rows) do
    if row.max ~= math.huge then most = math.max(most, row.max) end
  end
  local function wide(value) return most > 0 and math.min(value, most) / most * BAR or 0 end
  local drawn = {}
  for i, row in ipairs(rows) do
    local y = (i - 1) * ROW
    local colour = row.name == "wsb" and "var(--arm-1)" or "var(--arm-2)"
    drawn[i] = {
      letters(NAME - 8, y, row.name, "end"),
      E.rect { x = NAME, y = y + 4, width = ("%.1f"):format(wide(row.median)), height = ROW - 8,
        fill = colour },
      E.line { x1 = ("%.1f"):format(NAME + wide(row.min)), x2 = ("%.1f"):format(NAME + wide(row.max)),
        y1 = y + ROW / 2, y2 = y + ROW / 2, stroke = "currentColor" },
      letters(NAME + 8 + wide(row.max), y,
        number(row.median) .. (row.ratio and (" (%.2f)"):format(row.ratio) or "")),
    }
  end
  return E.svg { role = "img", width = BAR + 260, height = #rows * ROW, drawn }
end

---@param result table
---@return string
function tell.html(result)
  local body = {}
  for _, figure in ipairs(result.figures) do
    body[#body + 1] = { E.h2 { figure.title, ", ", figure.unit }, bars(figure.rows) }
  end
  local notes = {}
  for i, note in ipairs(result.notes) do notes[i] = E.li { note } end
  return "<!doctype html>\n" .. markup.print(E.html { lang = "en",
    E.head { E.meta { charset = "utf-8" }, E.title { "wsb bench" }, E.style { markup.raw(style) } },
    E.body { E.main { E.h1 { "What a delivery costs" },
      E.p { class = "facts", result.machine },
      E.p { "Bars are medians, lines reach from the least to the most, in brackets the ratio to the floor." },
      E.ul { notes }, body } } })
end

return tell
