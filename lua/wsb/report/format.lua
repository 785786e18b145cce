-- Numbers as people read them. Every renderer prints through here, so one figure has one spelling.

local format = {}

---Stands where there is no value.
format.NONE = "—"

-- A number and its unit stay on one line.
local SPACE = "\u{A0}"

local BYTES = { { 1024 ^ 3, "GiB" }, { 1024 ^ 2, "MiB" }, { 1024, "KiB" }, { 1, "B" } }
local SECONDS = { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "µs" } }

---A number that can be shown and compared: infinities are, NaN and JSON nulls are not.
---@param value any
---@return number?
function format.number(value)
  if type(value) == "number" and value == value then
    return value
  end
end

local function thousands(digits)
  local grouped = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (grouped:gsub("^,", ""))
end

-- Three significant digits; whole numbers show no fraction, large ones all of their whole part.
local function significant(value)
  local size = math.abs(value)
  local decimals = (size >= 99.95 or value == math.floor(value)) and 0 or size >= 9.995 and 1 or 2
  local text = ("%%.%df"):format(decimals):format(value)
  local sign, whole, rest = text:match("^(%-?)(%d+)(.*)$")
  return sign .. thousands(whole) .. rest
end

-- The largest unit in which the number is at least about one; 1000 KiB is written 0.98 MiB, not 1,000 KiB.
local function scaled(value, units)
  for i, unit in ipairs(units) do
    local in_unit = value / unit[1]
    local next_down = units[i + 1]
    if not next_down or math.abs(value) >= 999.5 * next_down[1] then
      return significant(in_unit) .. SPACE .. unit[2]
    end
  end
end

local function bytes(value)
  return scaled(value, BYTES)
end

local function seconds(value)
  if value == 0 then
    return "0" .. SPACE .. "s"
  elseif value < 600 then
    return scaled(value, SECONDS)
  end
  local whole = math.floor(value + 0.5)
  return ("%s min %d s"):format(thousands(tostring(whole // 60)), whole % 60):gsub(" ", SPACE)
end

-- A share below one never reads "100 %", and one above zero never "0 %".
local function ratio(value)
  local percent = value * 100
  for decimals = (value == 0 or value == 1) and 0 or 1, 6 do
    local text = ("%%.%df"):format(decimals):format(percent)
    local shown = tonumber(text)
    if (shown ~= 100 or value == 1) and (shown ~= 0 or value == 0) then
      return text .. SPACE .. "%"
    end
  end
  return value > 0.5 and "> 99.9999" .. SPACE .. "%" or "< 0.0001" .. SPACE .. "%"
end

local function count(value)
  if value == math.floor(value) then
    return thousands(("%.0f"):format(value))
  end
  return significant(value)
end

local BY_UNIT = { bytes = bytes, seconds = seconds, ratio = ratio, count = count }
local INFINITE = { seconds = "never" } -- infinitely late: the message did not arrive at all

---A value with its unit: "12.5 MiB", "4.2 ms", "99.98 %", "10,000"; "never" or "∞" when infinite.
---@param value any
---@param unit string  "bytes"|"seconds"|"ratio"|"count"; any other is printed after the number
---@return string
function format.value(value, unit)
  local number = format.number(value)
  if not number then
    return format.NONE
  elseif number == math.huge then
    return INFINITE[unit] or "∞"
  elseif BY_UNIT[unit] then
    return BY_UNIT[unit](number)
  end
  return significant(number) .. SPACE .. unit
end

---A point of a sweep: "1,000 clients", "message size 4 KiB".
---@param value number
---@param over {label: string, unit: string}
---@return string
function format.point(value, over)
  local text = format.value(value, over.unit)
  return over.unit == "count" and text .. " " .. over.label or over.label .. " " .. text
end

---For where a plain space is expected: a terminal, a search.
---@param text string
---@return string
function format.plain(text)
  return (text:gsub(SPACE, " "))
end

-- "9" beside "9.40" reads "9.00": a small whole number takes the decimals of its neighbour.
local function match_decimals(text, neighbour)
  local decimals = neighbour:match "^[%d,]+%.(%d+)"
  if not decimals then
    return text
  end
  return (text:gsub("^(%d%d?)(" .. SPACE .. ")", "%1." .. ("0"):rep(#decimals) .. "%2"))
end

---"8.90–9.40 s", "0.98 MiB–1.20 GiB", or one value when both print alike.
---@param low number
---@param high number
---@param unit string
---@return string
function format.range(low, high, unit)
  local from, to = format.value(low, unit), format.value(high, unit)
  if from == to then
    return to
  end
  local number, suffix = from:match("^([%d.,]+)(" .. SPACE .. ".+)$")
  if not number or to:sub(-#suffix) ~= suffix or to:find("^[<>]") then
    return from .. "–" .. to
  end
  from, to = match_decimals(from, to), match_decimals(to, from)
  return from:sub(1, -#suffix - 1) .. "–" .. to
end

---@param p number?
---@return string
function format.p(p)
  if not p then
    return format.NONE
  end
  return p < 0.001 and "< 0.001" or ("%.3f"):format(p)
end

---A pure ratio, such as the one of two medians.
---@param value number
---@return string
function format.factor(value)
  if value ~= 0 and math.abs(value) < 1 then
    return ("%.3g"):format(value)
  end
  return significant(value)
end

---"1 run", "5 runs".
---@param n integer
---@param noun string
---@return string
function format.plural(n, noun)
  return ("%s %s%s"):format(count(n), noun, n == 1 and "" or "s")
end

---"a, b and c".
---@param items string[]
---@return string
function format.list(items)
  if #items < 2 then
    return items[1] or ""
  end
  return table.concat(items, ", ", 1, #items - 1) .. " and " .. items[#items]
end

local MONTHS = { "January", "February", "March", "April", "May", "June", "July", "August", "September",
  "October", "November", "December" }

---ISO 8601 in UTC as a person would write it; anything else stays as it is.
---@param text string
---@return string
function format.date(text)
  local year, month, day, clock = text:match("^(%d+)-(%d+)-(%d+)T(%d+:%d+)[%d:.]*Z$")
  local name = month and MONTHS[tonumber(month)]
  if not name then
    return text
  end
  return ("%d %s %s, %s UTC"):format(tonumber(day), name, year, clock)
end

return format
