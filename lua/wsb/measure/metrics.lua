-- The value of a selector in what a run left.
--
-- flatness is the relative spread of a series over the second half of the run: that half is cut into ten
-- equal spans, the median of each is taken, and the answer is largest / smallest - 1. Medians leave out
-- single spikes; ten spans show both a slope and a step. A server that died was not flat: infinite.

local core = require "wsb.core"
local selector = require "wsb.measure.selector"
local stats = require "wsb.judge.stats"

local metrics = {}

---@class wsb.CohortData
---@field n integer         clients
---@field expected integer  messages offered by the publishers x clients
---@field delivered integer
---@field counts table<string, integer>
---@field hists table<string, wsb.Hist>
---@field closes table<integer, {sent: integer, seen: integer}>

---@class wsb.RunData
---@field series table<string, number[]>
---@field rss_peak integer
---@field foreign boolean?  the server is not wsb's
---@field died boolean      the server ended before it was told to
---@field server {counts: table<string, integer>, closes: table}?   all servers together
---@field servers table<string, {counts: table<string, integer>, closes: table}>?  by name
---@field network table<string, integer>?   the kernel's, since the load began
---@field fault {from_s: number, to_s: number?}?   the first one
---@field since_fault wsb.RunData?          what was counted from then on
---@field cohorts table<string, wsb.CohortData>
---@field publishers {counts: table<string, integer>, hists: table<string, wsb.Hist>}

local SPANS = 10
local NO_PROCESS = "its process is not known: give --pid"
local NOT_TOLD = "only a server of wsb tells it"

---@param t number[]        times, ascending
---@param values number[]   as many as t, or fewer when the series ended early
---@return number?          nil with fewer than ten values in the second half
function metrics.flatness(t, values)
  if #values == 0 or #values < #t then return nil end
  local from, to = (t[1] + t[#t]) / 2, t[#t]
  local spans = {}
  for i, at in ipairs(t) do
    if at >= from and values[i] == values[i] then
      local span = math.min(SPANS, 1 + math.floor((at - from) / (to - from) * SPANS))
      spans[span] = spans[span] or {}
      table.insert(spans[span], values[i])
    end
  end
  local low, high = math.huge, -math.huge
  for i = 1, SPANS do
    if not spans[i] then return nil end
    local m = stats.median(spans[i])
    low, high = math.min(low, m), math.max(high, m)
  end
  if low == high then return 0.0 end
  return low > 0 and high / low - 1 or math.huge
end

-- The peak that a process kept by itself, which no sample can miss.
local function kept_peak(data, name)
  if name == "rss" then return data.rss_peak end
  return data.server and data.server.counts[name .. "_peak"]
end

local function of_series(data, s)
  local series = data.series[s.name]
  if not series or #series == 0 then
    local its_own = s.name ~= "rss" and s.name ~= "cpu"
    return nil, data.foreign and (its_own and NOT_TOLD or NO_PROCESS) or "no sample of it"
  end
  if s.aggregate == "flatness" then
    if data.died then return math.huge end
    local value = metrics.flatness(data.series.t, series)
    return value, not value and "too few samples" or nil
  end
  local low, high, sum, count, last = math.huge, -math.huge, 0, 0, nil
  for _, value in ipairs(series) do
    if value == value then
      low, high, sum, count, last = math.min(low, value), math.max(high, value), sum + value, count + 1, value
    end
  end
  if count == 0 then return nil, "no sample of it" end
  high = math.max(high, kept_peak(data, s.name) or high)
  return ({ min = low, max = high, mean = sum / count, last = last })[s.aggregate]
end

-- The cohorts a selector speaks of: the one it names, or all.
local function cohorts_of(data, s)
  local name = s.tags.cohort
  if not name then
    local all = {}
    for _, cohort in pairs(data.cohorts) do
      table.insert(all, cohort)
    end
    return all
  end
  if data.cohorts[name] then return { data.cohorts[name] } end
  return {}, ("no cohort is named %s"):format(name)
end

local function of_delivery(data, s)
  local cohorts, why = cohorts_of(data, s)
  local expected, delivered = 0, 0
  for _, cohort in ipairs(cohorts) do
    expected, delivered = expected + cohort.expected, delivered + cohort.delivered
  end
  if why or expected == 0 then return nil, why or "nothing was published to it" end
  if s.aggregate == "ratio" then return delivered / expected end
  return ({ delivered = delivered, expected = expected, missing = math.max(0, expected - delivered) })[s.name]
end

local function of_hist(data, s)
  local sources, why, missing = { data.publishers }, nil, 0
  if not s.name:find("^publish_") then
    sources, why = cohorts_of(data, s)
  end
  local sum = core.hist()
  for _, source in ipairs(sources) do
    if source.hists[s.name] then sum = sum + source.hists[s.name] end
    if s.name == "fanout_lag" then missing = missing + math.max(0, source.expected - source.delivered) end
  end
  if s.aggregate == "count" then return sum:count(), why end
  if why or sum:count() + missing == 0 then return nil, why or "nothing was recorded" end
  if s.aggregate == "p" then return sum:percentile(s.percent, missing) end
  if s.aggregate == "max" then return missing > 0 and math.huge or sum:max() end
  return sum:mean()
end

local function of_server(data, s)
  local name = s.tags.server
  local server = data.server
  if name then server = (data.servers or {})[name] end
  if server then return server.counts[s.name], data.foreign and NOT_TOLD or nil end
  return nil, name and ("no server is named %s"):format(name) or "there is no server of wsb"
end

-- The least or the most of its series: of a counter's, which is its growth a second, of a gauge's, its level.
local function extreme(data, s)
  local pick = s.aggregate == "min" and math.min or math.max
  local found
  for _, value in ipairs(data.series[selector.needs(s).key] or {}) do
    if value == value then found = pick(found or value, value) end
  end
  return found, not found and "no sample of it" or nil
end

local function of_counter(data, s)
  if selector.needs(s) then return extreme(data, s) end
  local metric = selector.declared(s.name)
  if metric.role == "server" then return of_server(data, s) end
  if metric.role == "network" then
    local value = (data.network or {})[s.name]
    return value, not value and "this kernel does not count it" or nil
  end
  if s.name:find("^publish_") then return data.publishers.counts[s.name] or 0 end
  local cohorts, why = cohorts_of(data, s)
  local sum, clients = 0, 0
  for _, cohort in ipairs(cohorts) do
    sum, clients = sum + (cohort.counts[s.name] or 0), clients + cohort.n
  end
  if why or (s.aggregate == "each" and clients == 0) then return nil, why or "it has no clients" end
  return s.aggregate == "each" and sum / clients or sum
end

local function of_recorded(data, s)
  local value = (data.recorded or {})[s.tags.name]
  return value, not value and "the script recorded nothing of that name" or nil
end

-- From the fault to the first sample from which on enough clients were open to the end.
local function of_recovery(data, s)
  if not data.fault then return nil, "there was no fault" end
  local cohorts, why = cohorts_of(data, s)
  local open, t = data.series[selector.needs(s).key], data.series.t
  if why or not open then return nil, why or "no sample of it" end
  local wanted, back_s = 0, nil
  for _, cohort in ipairs(cohorts) do
    wanted = wanted + cohort.n * s.percent / 100
  end
  for i = #t, 1, -1 do
    if t[i] < data.fault.from_s or (open[i] or 0) < wanted then break end
    back_s = t[i]
  end
  return back_s and back_s - data.fault.from_s or math.huge
end

local function of_closes(data, s)
  local sources, why = { data.server }, nil
  if s.aggregate == "seen" or s.tags.cohort then
    sources, why = cohorts_of(data, s)
  elseif data.foreign then
    why = NOT_TOLD
  end
  local sum, code = 0, tonumber(s.tags.code)
  for _, source in ipairs(sources) do
    for row_code, row in pairs(source.closes) do
      if not code or code == row_code then sum = sum + row[s.aggregate] end
    end
  end
  return not why and sum or nil, why
end

local FAMILIES = { series = of_series, delivery = of_delivery, hist = of_hist, counter = of_counter,
  closes = of_closes, recorded = of_recorded, recovery = of_recovery }

---@param data wsb.RunData
---@param s wsb.Selector
---@return number? value  bytes, seconds, ratio or count; math.huge for infinitely late
---@return string? why    when there is none
function metrics.value(data, s)
  if s.tags.since then
    if not data.since_fault then return nil, "there was no fault" end
    data = data.since_fault
  end
  return FAMILIES[selector.kind(s.name).family](data, s)
end

return metrics
