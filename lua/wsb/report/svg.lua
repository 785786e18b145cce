-- Draws a chart as inline SVG that fits any width without growing its letters: places along time are
-- percentages, curves lie in an inner drawing that stretches, and text never does. Colours and margins are in
-- the style sheet.

local format = require "wsb.report.format"
local markup = require "wsb.report.markup"

local svg = {}

local E = markup.elements

local STRIP = 22      -- above the plot: names of the fault windows
local AXIS = 24       -- below it: time
local WIDTH = 1000    -- of the inner drawing, stretched to the page
local LABEL_GAP = 15  -- least distance between two labels
local FLIP = 0.6      -- beyond this share of the width a label is written to the left

local function percent(share)
  return ("%.2f%%"):format(share * 100)
end

-- From a share of the plot to the y of the drawing.
local function down(share, height)
  return tonumber(("%.1f"):format(STRIP + (1 - share) * height))
end

-- Moves the labels apart, downwards first and then up again from the foot.
local function spread(labels, foot)
  table.sort(labels, function(a, b) return a.y < b.y end)
  for i = 2, #labels do
    labels[i].y = math.max(labels[i].y, labels[i - 1].y + LABEL_GAP)
  end
  local limit = foot
  for i = #labels, 1, -1 do
    labels[i].y = math.min(labels[i].y, limit)
    limit = labels[i].y - LABEL_GAP
  end
end

local function windows(chart, height)
  local drawn = {}
  for i, window in ipairs(chart.windows) do
    local flip = window.from > FLIP
    drawn[i] = {
      E.rect { class = "window", x = percent(window.from), width = percent(window.to - window.from), y = 0,
        height = STRIP + height },
      E.text { class = flip and "window-label left" or "window-label", y = STRIP - 7,
        x = percent(flip and window.to or window.from), dx = flip and -6 or 6, window.label },
    }
  end
  return drawn
end

local function axes(chart, height)
  local drawn = {}
  for _, tick in ipairs(chart.y_ticks) do
    local y = down(tick.place, height)
    drawn[#drawn + 1] = {
      E.line { class = tick.place == 0 and "foot" or "grid", x1 = 0, x2 = "100%", y1 = y, y2 = y },
      E.text { class = "tick left", x = -8, y = y + 4, tick.text },
    }
  end
  for _, tick in ipairs(chart.x_ticks) do
    local at_end = tick.place > 0.97
    drawn[#drawn + 1] = E.text { class = at_end and "tick left" or "tick middle", x = percent(tick.place),
      y = STRIP + height + 17, tick.text }
  end
  return drawn
end

local function limit_lines(chart, height)
  local drawn = {}
  for i, line in ipairs(chart.lines) do
    local y = down(line.place, height)
    drawn[i] = E.line { class = "limit", x1 = 0, x2 = "100%", y1 = y, y2 = y }
  end
  return drawn
end

local function path_data(points, height)
  local steps, pen = {}, "M"
  for _, point in ipairs(points) do
    if point then
      local at = ("%.1f %.1f"):format(point[1] * WIDTH, (1 - point[2]) * height)
      -- h0: a point between two gaps is still a dot
      steps[#steps + 1] = pen .. at .. (pen == "M" and "h0" or "")
      pen = "L"
    else
      pen = "M"
    end
  end
  return table.concat(steps)
end

-- Lines without length, which the style sheet gives a round pen: circles would be stretched.
local function dots(curve, height)
  local steps = {}
  for _, point in ipairs(curve.points) do
    if point then
      steps[#steps + 1] = ("M%.1f %.1fh0"):format(point[1] * WIDTH, (1 - point[2]) * height)
    end
  end
  return E.path { class = ("dots arm-%d"):format(curve.style), d = table.concat(steps) }
end

local function curves(chart, height)
  local paths = {}
  for i, curve in ipairs(chart.curves) do
    paths[i] = { E.path { class = ("curve arm-%d %s"):format(curve.style, curve.bold and "bold" or "faint"),
      d = path_data(curve.points, height) }, curve.dots and dots(curve, height) or false }
  end
  return E.svg { y = STRIP, width = "100%", height = height, viewBox = ("0 0 %d %d"):format(WIDTH, height),
    preserveAspectRatio = "none", overflow = "visible", paths }
end

local function cross(curve, height)
  local size = curve.bold and 5.5 or 3
  return E.svg { x = percent(curve.ending.x), y = down(curve.ending.y, height), overflow = "visible",
    E.path { class = ("cross arm-%d %s"):format(curve.style, curve.bold and "bold" or "faint"),
      d = ("M%g %gL%g %gM%g %gL%g %g"):format(-size, -size, size, size, -size, size, size, -size) } }
end

local function endings(chart, height)
  local drawn = {}
  for _, curve in ipairs(chart.curves) do
    drawn[#drawn + 1] = curve.ending and cross(curve, height) or nil
  end
  return drawn
end

-- Beside its cross, how an arm died.
local function ending_label(curve, height)
  local flip = curve.ending.x > FLIP
  return { y = down(curve.ending.y, height) + 20, x = percent(curve.ending.x), dx = flip and -4 or 4,
    class = ("label arm-%d%s"):format(curve.style, flip and " left" or ""),
    text = curve.arm .. " " .. curve.ending.text }
end

-- The y of the curve's end, raised above its last third where that is unsteady: a label must not lie on it.
local function clear_of(curve, height)
  local final = down(curve.points[#curve.points][2], height)
  local top = final
  for _, point in ipairs(curve.points) do
    if point and point[1] > 0.67 then
      top = math.min(top, down(point[2], height))
    end
  end
  return math.max(top, final - 2 * LABEL_GAP)
end

-- At the right, an arm that lived to the end with its last value.
local function right_label(curve, unit, height)
  return { y = clear_of(curve, height), x = "100%", dx = 0,
    class = "right label arm-" .. curve.style, text = curve.arm .. " " .. format.value(curve.last, unit) }
end

local function labels(chart, height)
  local list = {}
  for _, line in ipairs(chart.lines) do
    list[#list + 1] = { y = down(line.place, height), x = "100%", dx = 0, class = "right limit-label",
      text = line.label }
  end
  for _, curve in ipairs(chart.curves) do
    if curve.bold then
      list[#list + 1] = curve.ending and ending_label(curve, height) or right_label(curve, chart.unit, height)
    end
  end
  spread(list, STRIP + height)
  local drawn = {}
  for i, label in ipairs(list) do
    drawn[i] = E.text { class = label.class, x = label.x, dx = label.dx, y = label.y, label.text }
  end
  return drawn
end

---@param chart wsb.report.Chart
---@param id string      -- unique on the page
---@param height integer -- of the plot, px
---@return table  -- an element
function svg.draw(chart, id, height)
  return E.svg {
    class = "plot",
    role = "img",
    height = STRIP + height + AXIS,
    ["aria-labelledby"] = id .. "-title " .. id .. "-desc",
    E.title { id = id .. "-title", chart.title },
    E.desc { id = id .. "-desc", chart.description },
    windows(chart, height),
    axes(chart, height),
    limit_lines(chart, height),
    curves(chart, height),
    endings(chart, height),
    labels(chart, height),
  }
end

return svg
