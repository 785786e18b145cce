-- The result on a terminal: aligned tables, the verdict last, where the eye is when the prompt returns.

local format = require "wsb.report.format"
local model = require "wsb.report.model"

local text = {}

local GAP = "  "
local NARROWEST = 8 -- columns below which a cell is not wrapped any further

local COLOURS = { good = "\27[32m", bad = "\27[31m", open = "\27[33m", bold = "\27[1m", faint = "\27[2m" }
local RESET = "\27[0m"

local function paint(line, style, colour)
  if colour and style then
    return COLOURS[style] .. line .. RESET
  end
  return line
end

local function width_of(line)
  return utf8.len(line) or #line
end

local function wrap(line, width)
  local lines, current = {}, nil
  for word in line:gmatch "%S+" do
    if current and width_of(current) + 1 + width_of(word) > width then
      lines[#lines + 1] = current
      current = word
    else
      current = current and current .. " " .. word or word
    end
  end
  lines[#lines + 1] = current or ""
  return lines
end

local function longest_word(line)
  local longest = NARROWEST
  for word in line:gmatch "%S+" do
    longest = math.max(longest, width_of(word))
  end
  return longest
end

-- Title row and rows as plain strings.
local function grid_of(spec)
  local grid = { {} }
  for i, column in ipairs(spec.columns) do
    grid[1][i] = column.title
  end
  for _, cells in ipairs(spec.rows) do
    local row = {}
    for i = 1, #spec.columns do
      row[i] = cells[i].text
    end
    grid[#grid + 1] = row
  end
  return grid
end

local function natural_widths(grid)
  local widths, least = {}, {}
  for _, row in ipairs(grid) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, width_of(cell))
      least[i] = math.max(least[i] or 0, math.min(widths[i], longest_word(cell)))
    end
  end
  return widths, least
end

local function total(widths)
  local sum = #GAP * (#widths - 1)
  for _, width in ipairs(widths) do
    sum = sum + width
  end
  return sum
end

local function lines_needed(grid, widths)
  local lines = 0
  for _, row in ipairs(grid) do
    local tallest = 1
    for i, cell in ipairs(row) do
      tallest = math.max(tallest, #wrap(cell, widths[i]))
    end
    lines = lines + tallest
  end
  return lines
end

-- The column that costs the fewest lines when it gets narrower, the widest of such; nil when none can.
local function cheapest(grid, widths, least)
  local best, fewest
  for i, width in ipairs(widths) do
    if width > least[i] then
      widths[i] = width - 1
      local lines = lines_needed(grid, widths)
      widths[i] = width
      if not best or lines < fewest or lines == fewest and width > widths[best] then
        best, fewest = i, lines
      end
    end
  end
  return best
end

-- Makes columns narrower until the table fits or none can.
local function fit(grid, widths, least, available)
  while total(widths) > available do
    local column = cheapest(grid, widths, least)
    if not column then
      return
    end
    widths[column] = widths[column] - 1
  end
end

local function pad(line, width, right)
  local space = (" "):rep(width - width_of(line))
  return right and space .. line or line .. space
end

-- A row of cells becomes as many lines as its tallest cell needs.
local function row_lines(row, spec, widths, styles, colour)
  local wrapped, height = {}, 1
  for i, cell in ipairs(row) do
    wrapped[i] = wrap(cell, widths[i])
    height = math.max(height, #wrapped[i])
  end
  local lines = {}
  for n = 1, height do
    local parts = {}
    for i in ipairs(row) do
      parts[i] = paint(pad(wrapped[i][n] or "", widths[i], spec.columns[i].numeric), styles[i], colour)
    end
    lines[n] = table.concat(parts, GAP):gsub("%s+$", "")
  end
  return lines
end

local function styles_of(spec, place)
  local styles = {}
  for i = 1, #spec.columns do
    styles[i] = place == 1 and "bold" or place > 1 and spec.rows[place - 1][i].tone or nil
  end
  return styles
end

local function add_table(lines, spec, how)
  local grid = grid_of(spec)
  local widths, least = natural_widths(grid)
  fit(grid, widths, least, how.width)
  for place, row in ipairs(grid) do
    local made = row_lines(row, spec, widths, styles_of(spec, place), how.color)
    table.move(made, 1, #made, #lines + 1, lines)
  end
end

local function add_paragraph(lines, paragraph, how, style)
  for _, line in ipairs(wrap(paragraph, how.width)) do
    lines[#lines + 1] = paint(line, style, how.color)
  end
end

local function add_section(lines, spec, how)
  if not spec.rows[1] then
    return
  end
  lines[#lines + 1] = paint(spec.title, "bold", how.color)
  add_table(lines, spec, how)
  for _, note in ipairs(spec.notes or {}) do
    add_paragraph(lines, note, how, "faint")
  end
  lines[#lines + 1] = ""
end

local function add_statistics(lines, found, how)
  for i, spec in ipairs(found.tables) do
    if i > 1 then
      lines[#lines + 1] = ""
    end
    lines[#lines + 1] = paint(spec.title, "bold", how.color)
    add_table(lines, spec, how)
  end
  for _, note in ipairs(found.notes) do
    add_paragraph(lines, note, how, "faint")
  end
  if found.warning then
    add_paragraph(lines, found.warning, how)
  end
  if found.warning or found.tables[1] then
    lines[#lines + 1] = ""
  end
end

local function add_verdict(lines, verdict, how)
  for _, reason in ipairs(verdict.reasons) do
    for i, line in ipairs(wrap(reason, how.width - 2)) do
      lines[#lines + 1] = (i == 1 and "- " or "  ") .. line
    end
  end
  local indent = #verdict.word + #GAP
  for i, line in ipairs(wrap(verdict.statement, how.width - indent)) do
    local head = i == 1 and paint(verdict.word, verdict.tone, how.color) or (" "):rep(#verdict.word)
    lines[#lines + 1] = line == "" and head or head .. GAP .. line
  end
end

---A line in the colour of a tone, where there are colours.
---@param line string
---@param tone string?
---@param color boolean?
---@return string
text.paint = paint

---A table alone, its rows wrapped to fit.
---@param spec wsb.report.Table
---@param width integer
---@param color? boolean
---@return string
function text.table(spec, width, color)
  local lines = {}
  add_table(lines, spec, { width = width, color = color })
  return table.concat(lines, "\n") .. "\n"
end

---The tables of a report and its verdict.
---@param report wsb.report.Sheet
---@param options? {color: boolean?, width: integer?}  -- default: no colour, 100 columns
---@return string  -- ends with the verdict
function text.sheet(report, options)
  options = options or {}
  local how, lines = { color = options.color or false, width = options.width or 100 }, {}
  for _, spec in ipairs(report.tables) do
    add_section(lines, spec, how)
  end
  add_verdict(lines, report.verdict, how)
  return format.plain(table.concat(lines, "\n")) .. "\n"
end

---@param result table  -- schema wsb.result/1
---@param options? {color: boolean?, width: integer?}  -- default: no colour, 100 columns
---@return string  -- ends with the verdict
function text.render(result, options)
  options = options or {}
  local how = { color = options.color or false, width = options.width or 100 }
  local report, lines = model.build(result), {}
  add_section(lines, report.overview, how)
  add_section(lines, report.closes, how)
  add_section(lines, report.thresholds, how)
  add_statistics(lines, report.statistics, how)
  add_verdict(lines, report.verdict, how)
  return format.plain(table.concat(lines, "\n")) .. "\n"
end

return text
