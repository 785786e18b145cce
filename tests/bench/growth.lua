-- How what is measured grows: a delivery along the number of subscribers and the size of the message, and the
-- server's memory along the number of idle connections. Of each contestant, beside the floor.

local chart = require "wsb.report.chart"
local cohort = require "wsb.load.cohort"
local core = require "wsb.core"
local figures = require "figures"
local format = require "wsb.report.format"
local scale = require "wsb.report.scale"
local tell = require "tell"

local growth = {}

local DELIVERIES = 30000  -- a second, whatever their number: well below what any server here can do
local BYTES = 150e6       -- a second, at most
local N, SIZE = 1000, 128 -- what one holds while the other grows
local KEEPS_UP, NOT_JOINED = 0.97, 0.97
local WINDOW_S, QUICK_WINDOW_S, LEAST_BROADCASTS = 3, 1.5, 4

local function load_of(n, size)
  local rate = math.min(DELIVERIES / n, BYTES / n / size)
  local title = ("%s subscribers, %s/s of %s"):format(tell.number(n), tell.number(rate),
    format.plain(format.value(size, "bytes")))
  return { key = ("%d_%d"):format(n, size), n = n, size = size, rate = rate, title = title }
end

---@class bench.Series  one figure along what grows
---@field key string      of its values, before that of the point
---@field title string
---@field unit string
---@field scaled number?  from the unit of the values to that of charts
---@field chart_unit string?
---@field over {label: string, unit: string, values: integer[], log: boolean?}
---@field load (fun(point: integer): table)?  what is measured there; none: memory, or idle CPU

---@type bench.Series[]
growth.series = {
  { key = "cpu_", unit = "µs",
    title = "Server CPU a delivery along the number of subscribers (128 B, 30,000 deliveries/s)",
    over = { label = "subscribers", unit = "count", values = { 10, 100, 1000, 5000, 15000 }, log = true },
    load = function(n) return load_of(n, SIZE) end },
  -- A stamped message has no less than 48 bytes.
  { key = "cpu_", unit = "µs",
    title = "Server CPU a delivery along the size of the message (1,000 subscribers)",
    over = { label = "message size", unit = "bytes", values = { 48, 128, 1024, 4096, 16384, 65536 },
      log = true }, load = function(size) return load_of(N, size) end },
  { key = "idle_", unit = "ms/s",
    title = "Server CPU along the number of connections that are sent nothing",
    over = { label = "connections", unit = "count", values = { 10, 100, 1000, 5000, 15000 }, log = true } },
  { key = "memory_", unit = "KiB", scaled = 1024, chart_unit = "bytes",
    title = "Server memory along the number of idle connections",
    over = { label = "connections", unit = "count", values = { 0, 1000, 5000, 10000, 15000 } } },
}

local function key_of(series, point)
  return series.key .. (series.load and series.load(point).key or ("%d"):format(point))
end

-- The points that this machine's descriptors allow for: the rest is told.
local function within_limits(bench, values, clients_of)
  local most, kept = cohort.per_process(), {}
  for _, value in ipairs(values) do
    local n = clients_of(value)
    if n <= most then
      kept[#kept + 1] = value
    else
      bench:note("%s connections are left out: a process may have %s descriptors (`ulimit -Hn`)",
        tell.number(n), tell.number(core.descriptor_limit().hard))
    end
  end
  return kept
end

-- What of the CPU a delivery is left without that of the same connections idle: at few deliveries a second a
-- server that looks at its connections now and then seems dear.
local function less_idle(bench, contestant, load, f)
  local idle = (bench.values[contestant.name][("idle_%d"):format(load.n)] or {})[1]
  if not idle or not f.cpu then return nil end
  return f.cpu - idle * 1000 / (load.n * load.rate * f.delivered)
end

local function measure_load(bench, contestant, load, round, seconds)
  local f = bench:try(contestant, load.title, figures.load, load, seconds)
  if f.delivered and f.delivered < KEEPS_UP then
    bench:note("%s: only %.0f %% delivered of %s", contestant.name, f.delivered * 100, load.title)
  end
  if f.writes and f.writes < NOT_JOINED then
    bench:note("%s joined messages: %.2f writes a frame at %s", contestant.name, f.writes, load.title)
  end
  for _, name in ipairs { "cpu", "swarm_cpu", "delivered", "writes", "lag_p50", "lag_p99" } do
    bench:keep(contestant, name .. "_" .. load.key, round, f[name])
  end
  bench:keep(contestant, "net_cpu_" .. load.key, round, less_idle(bench, contestant, load, f))
end

-- Each load once, though it may be a point of two series.
local function loads_of(bench)
  local list, known = {}, {}
  for _, series in ipairs(growth.series) do
    local function clients(point) return series.load(point).n end
    for _, point in ipairs(series.load and within_limits(bench, series.over.values, clients) or {}) do
      local load = series.load(point)
      if not known[load.key] then list[#list + 1] = load end
      known[load.key] = true
    end
  end
  return list
end

local function measure_idle(bench, contestant)
  local series = growth.series[#growth.series - 1]
  for _, n in ipairs(within_limits(bench, series.over.values, function(n) return n end)) do
    local f = bench:try(contestant, ("%s idle connections"):format(tell.number(n)), figures.idle, n)
    bench:keep(contestant, key_of(series, n), 1, f.idle and f.idle * 1000)
  end
end

local function measure_memory(bench, contestant)
  local series = growth.series[#growth.series]
  local counts = within_limits(bench, series.over.values, function(n) return n end)
  local found = bench:try(contestant, series.title, figures.memory_growth, counts)
  for n, bytes in pairs(found) do bench:keep(contestant, key_of(series, n), 1, bytes) end
end

---CPU of deliveries, a point of every contestant at a time, so that they alternate.
---@param bench table  keeps the values
---@param opt {rounds: integer, quick: boolean}
---@async
function growth.deliveries(bench, opt)
  for _, contestant in ipairs(bench.present) do measure_idle(bench, contestant) end
  local seconds = opt.quick and QUICK_WINDOW_S or WINDOW_S
  for round = 1, opt.rounds do
    for _, load in ipairs(loads_of(bench)) do
      for _, contestant in ipairs(bench.present) do
        measure_load(bench, contestant, load, round, math.max(seconds, LEAST_BROADCASTS / load.rate))
      end
    end
  end
end

---@param bench table
---@async
function growth.memory(bench)
  for _, contestant in ipairs(bench.present) do
    if contestant.full then measure_memory(bench, contestant) end
  end
end

local function cell(row, series)
  if not row then return "" end
  local text = tell.number(row.median / (series.scaled or 1))
  if row.name == "floor" or not row.ratio then return text end
  return ("%s (%.3f)"):format(text, row.ratio)
end

-- What each connection adds, from the first point to the last that was measured.
local function slope(series, values, order)
  local row, points = { "each, bytes" }, series.over.values
  for i, name in ipairs(order) do
    local function at(point) return (values[name][key_of(series, point)] or {})[1] end
    local last = #points
    while last > 1 and not at(points[last]) do last = last - 1 end
    local a, b = at(points[1]), at(points[last])
    row[i + 1] = last > 1 and a and tell.number((b - a) / (points[last] - points[1])) or ""
  end
  return row
end

-- The ratio to the floor when both are taken without what they cost idle.
local function net_ratio(series, point, values, name)
  local row = tell.rows({ key = "net_" .. key_of(series, point) }, values, { name })[1]
  return row and row.ratio and ("%.3f"):format(row.ratio) or ""
end

---A table of a series: a row a point, a column a contestant, medians, in brackets the ratio to the floor, and
---a column of that ratio without what both cost idle.
---@param series bench.Series
---@param values table
---@param order string[]
function growth.grid(series, values, order)
  local grid = { title = series.title .. ", " .. series.unit,
    columns = { series.over.label, table.unpack(order) }, rows = {} }
  for _, name in ipairs(order) do
    if series.load and name ~= "floor" then grid.columns[#grid.columns + 1] = name .. ", less idle" end
  end
  for _, point in ipairs(series.over.values) do
    local by_name, row = {}, { format.plain(format.value(point, series.over.unit)) }
    for _, one in ipairs(tell.rows({ key = key_of(series, point) }, values, order)) do
      by_name[one.name] = one
    end
    for i, name in ipairs(order) do row[i + 1] = cell(by_name[name], series) end
    for _, name in ipairs(order) do
      if series.load and name ~= "floor" then
        row[#row + 1] = net_ratio(series, point, values, name)
      end
    end
    if next(by_name) then grid.rows[#grid.rows + 1] = row end
  end
  if series.key == "memory_" and grid.rows[1] then
    grid.rows[#grid.rows + 1] = slope(series, values, order)
  end
  return grid
end

-- Of one contestant: `value(point, round)` along the points; without a round the median of all.
local function trace(series, name, style, value, round)
  local points, any = {}, false
  for i, point in ipairs(series.over.values) do
    local y = value(point, round)
    points[i] = y and { point, y } or false
    any = any or y ~= nil
  end
  while #points > 0 and not points[#points] do points[#points] = nil end
  return any and { arm = name, style = style, bold = not round, dots = not round, points = points } or nil
end

local function median_of(value, rounds)
  return function(point, round)
    if round then return value(point, round) end
    local list = {}
    for each = 1, rounds do list[#list + 1] = value(point, each) end
    return #list > 0 and tell.median(list) or nil
  end
end

local STYLES = { wsb = 1, floor = 2 } -- as in bars; others have their place, from the third on

local function traces(series, order, rounds, value_of)
  local list = {}
  for i, name in ipairs(order) do
    local style = STYLES[name] or i
    local value = median_of(value_of(name), rounds)
    for round = 1, rounds > 1 and rounds or 0 do
      list[#list + 1] = trace(series, name, style, value, round)
    end
    list[#list + 1] = trace(series, name, style, value)
  end
  return list
end

---Two charts of a series: the values, and where there is a floor the ratio to it.
---@param series bench.Series
---@param values table
---@param order string[]
---@param rounds integer
---@return wsb.report.Chart[]
function growth.charts(series, values, order, rounds)
  local axis, unit = scale.points(series.over), series.chart_unit or series.unit
  local function taken(name, point, round) return (values[name][key_of(series, point)] or {})[round] end
  local drawn = traces(series, order, rounds, function(name)
    return function(point, round) return taken(name, point, round) end
  end)
  local charts = { drawn[1] and chart.plot({ title = series.title, unit = unit }, axis, drawn) or nil }
  if not values.floor or not series.load then return charts end
  local ratios = {}
  for i, kind in ipairs { { "cpu_", "" }, { "net_cpu_", ", less idle" } } do
    local function of(name, point, round)
      return (values[name][kind[1] .. series.load(point).key] or {})[round]
    end
    for _, one in ipairs(traces(series, order, rounds, function(name)
      return function(point, round)
        local own, floor = of(name, point, round), of("floor", point, round)
        return name ~= "floor" and own and floor and own / floor or nil
      end
    end)) do
      one.arm, one.style = one.arm .. kind[2], one.style + #order * (i - 1)
      ratios[#ratios + 1] = one
    end
  end
  if ratios[1] then
    charts[#charts + 1] = chart.plot({ title = series.title .. ", to the floor", unit = "×",
      lines = { { value = 1, label = "floor" } } }, axis, ratios)
  end
  return charts
end

return growth
