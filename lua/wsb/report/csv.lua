-- samples.csv: one row per sample, for whoever wants to plot or doubt the figures.

local csv = {}

local function field(value)
  if value == math.huge then
    return "inf"
  elseif type(value) == "number" then
    return value == value and ("%.10g"):format(value) or ""
  elseif type(value) ~= "string" then
    return ""
  elseif value:find('[",\r\n]') then
    return '"' .. value:gsub('"', '""') .. '"'
  end
  return value
end

local function series_names(result)
  local seen, names = { t = true }, {}
  for _, arm in ipairs(result.arms) do
    for _, run in ipairs(arm.runs) do
      for name in pairs(run.series or {}) do
        if not seen[name] then
          seen[name] = true
          names[#names + 1] = name
        end
      end
    end
  end
  table.sort(names)
  return names
end

local function add_row(lines, values, width)
  local row = {}
  for i = 1, width do
    row[i] = field(values[i])
  end
  lines[#lines + 1] = table.concat(row, ",") .. "\n"
end

---Of a sweep: columns arm, run, what was swept, then every column; a row per run.
---@param result table  -- schema wsb.sweep/1
---@return string
function csv.sweep(result)
  local header, lines = { "arm", "run", result.over.name }, {}
  for _, column in ipairs(result.columns) do
    header[#header + 1] = column.name
  end
  add_row(lines, header, #header)
  for _, arm in ipairs(result.arms) do
    for _, run in ipairs(arm.runs) do
      local row = { arm.name, run.index, run.point }
      for i, column in ipairs(result.columns) do
        row[3 + i] = run.values[column.name]
      end
      add_row(lines, row, #header)
    end
  end
  return table.concat(lines)
end

---Columns arm, run, t_s, then every series by name; infinities are "inf", what was not sampled is empty.
---@param result table
---@return string
function csv.render(result)
  local names, lines = series_names(result), {}
  local width = 3 + #names
  add_row(lines, table.move(names, 1, #names, 4, { "arm", "run", "t_s" }), width)
  for _, arm in ipairs(result.arms) do
    for _, run in ipairs(arm.runs) do
      local series = run.series or {}
      for i, t in ipairs(series.t or {}) do
        local row = { arm.name, run.index, t }
        for column, name in ipairs(names) do
          row[3 + column] = (series[name] or {})[i]
        end
        add_row(lines, row, width)
      end
    end
  end
  return table.concat(lines)
end

return csv
