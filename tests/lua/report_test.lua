local t = require "harness"
local assert = require "luassert"
local chart = require "wsb.report.chart"
local format = require "wsb.report.format"
local report = require "wsb.report"
local scale = require "wsb.report.scale"
local synthetic = require "lua.synthetic"

local HUGE = math.huge

local function contains(text, wanted)
  assert.is_truthy(text:find(wanted, 1, true), ("%q is not there"):format(wanted))
end

local function lacks(text, unwanted)
  assert.is_nil(text:find(unwanted, 1, true), ("%q is there"):format(unwanted))
end

local function plain(value, unit)
  return format.plain(format.value(value, unit))
end

-- format

t.test("numbers are written as people read them", function()
  assert.equal("256 MiB", plain(256 * 1024 ^ 2, "bytes"))
  assert.equal("12.5 KiB", plain(12.5 * 1024, "bytes"))
  assert.equal("0.98 MiB", plain(1000 * 1024, "bytes"))
  assert.equal("0 B", plain(0, "bytes"))
  assert.equal("4.91 ms", plain(0.00491, "seconds"))
  assert.equal("763 µs", plain(0.000763, "seconds"))
  assert.equal("2 s", plain(2, "seconds"))
  assert.equal("12 min 5 s", plain(725, "seconds"))
  assert.equal("1,234,567", plain(1234567, "count"))
  assert.equal("49.5", plain(49.5, "count"))
  assert.equal("-3", plain(-3, "count"))
  assert.equal("12.3 widgets", plain(12.34, "widgets"))
end)

t.test("a share below one never reads 100 %, one above zero never 0 %", function()
  assert.equal("100 %", plain(1, "ratio"))
  assert.equal("44.5 %", plain(0.445, "ratio"))
  assert.equal("99.996 %", plain(0.99996, "ratio"))
  assert.equal("> 99.9999 %", plain(1 - 1e-12, "ratio"))
  assert.equal("0 %", plain(0, "ratio"))
  assert.equal("0.001 %", plain(0.00001, "ratio"))
  assert.equal("< 0.0001 %", plain(1e-12, "ratio"))
end)

t.test("infinite, missing and not-a-number values have words", function()
  assert.equal("never", plain(HUGE, "seconds"))
  assert.equal("∞", plain(HUGE, "bytes"))
  assert.equal("—", plain(nil, "bytes"))
  assert.equal("—", plain(0 / 0, "bytes"))
end)

t.test("a range names its unit once and its decimals alike", function()
  assert.equal("8.90–9.40 s", format.plain(format.range(8.9, 9.4, "seconds")))
  assert.equal("9.00–9.10 s", format.plain(format.range(9, 9.1, "seconds")))
  assert.equal("900 KiB–1.20 MiB", format.plain(format.range(900 * 1024, 1.2 * 1024 ^ 2, "bytes")))
  assert.equal("5.00 ms–never", format.plain(format.range(0.0049999, HUGE, "seconds")))
  assert.equal("50", format.range(50, 50, "count"))
end)

t.test("dates, lists and plurals", function()
  assert.equal("24 November 2026, 07:00 UTC", format.date "2026-11-24T07:00:00Z")
  assert.equal("yesterday", format.date "yesterday")
  assert.equal("a, b and c", format.list { "a", "b", "c" })
  assert.equal("1 run", format.plural(1, "run"))
  assert.equal("5 runs", format.plural(5, "run"))
end)

-- model

local function row_named(spec, name)
  for _, row in ipairs(spec.rows) do
    if row[1].text == name then
      return row
    end
  end
  error("no row " .. name)
end

local function texts(row)
  local list = {}
  for i, cell in ipairs(row) do
    list[i] = format.plain(cell.text)
  end
  return list
end

t.test("overview: one run per arm is told in its own words", function()
  local overview = report.model(synthetic.result(1)).overview
  local slow = row_named(overview, "slow clients at the end")
  assert.same({ "outcome", "killed at 256 MiB after 9.1 s", "alive, memory flat", "" },
    texts(overview.rows[1]))
  assert.same({ "slow clients at the end", "50", "0", "50 → 0" }, texts(slow))
end)

t.test("overview: several runs are counted, and figures are medians", function()
  local overview = report.model(synthetic.result(5)).overview
  assert.same({ "outcome", "5 of 5 killed at 256 MiB after 8.90–9.40 s", "5 of 5 alive, memory flat", "" },
    texts(overview.rows[1]))
  assert.equal("44.5 %", texts(row_named(overview, "delivered (healthy)"))[2])
  contains(overview.notes[1], "Medians of 5 runs")
end)

t.test("overview: outcomes that differ are told apart", function()
  local result = synthetic.result(5)
  result.arms[1].runs[2].outcome = { kind = "alive", text = "alive, memory growing" }
  local cell = report.model(result).overview.rows[1][2]
  assert.equal("4 of 5 killed at 256 MiB after 9.00–9.40 s; 1 of 5 alive, memory growing",
    format.plain(cell.text))
end)

t.test("overview: memory that varied is told as a range over the runs", function()
  local result = synthetic.result(2)
  for i, run in ipairs(result.arms[2].runs) do
    run.outcome = { kind = "alive", text = "alive, memory varied by " .. i, flatness = 0.1 + i / 10 }
  end
  local cell = report.model(result).overview.rows[1][3]
  assert.equal("2 of 2 alive, memory varied by 20.0–30.0 %", format.plain(cell.text))
end)

t.test("overview: notes say what the limit does not charge, and what the end of the dead is", function()
  local result = synthetic.result(1)
  local function notes() return table.concat(report.model(result).overview.notes, " ") end
  contains(notes(), "kernel memory of its sockets. ")
  contains(notes(), "At the end: the last sample before the server died.")
  result.arms[1].runs[1].metrics["server_memory.max"] = 2 ^ 28 + 1
  contains(notes(), "kernel memory of its sockets, which this limit (cgroup v1) does not charge.")
  result.limit.kind = "cgroup v2"
  lacks(notes(), "does not charge")
  result.arms[1].runs[1].outcome = { kind = "alive", text = "alive" }
  lacks(notes(), "At the end")
  result.columns = { result.columns[1] }
  lacks(notes(), "Server memory")
end)

t.test("the claim is asserted where it is proven, and nowhere else", function()
  local result = synthetic.result(1)
  result.claim = "it holds"
  for word, says in pairs { PROVEN = "it holds", REFUTED = "The claim did not hold: it holds",
    INCONCLUSIVE = "Nothing was shown. The claim was: it holds" } do
    result.verdict.word = word
    assert.equal(says, report.model(result).verdict.statement)
    contains(report.text(result), ("\n%s  %s\n"):format(word, says))
    contains(report.markdown(result), ("\n**%s** %s\n"):format(word, says))
    contains(report.html(result), (">%s</span>"):format(says))
  end
end)

t.test("an undelivered percentile is never, and the note says what that means", function()
  local overview = report.model(synthetic.result(1)).overview
  local row = row_named(overview, "fan-out lag p99 (healthy)")
  assert.equal("never", row[2].text)
  assert.equal("was never", row[4].text)
  assert.equal("good", row[4].tone)
  contains(table.concat(overview.notes), "were not delivered")
end)

t.test("a metric that is missing shows as nothing, not as zero", function()
  local result = synthetic.result(1)
  result.arms[1].runs[1].metrics["queue_bytes.max"] = nil
  local row = row_named(report.model(result).overview, "queued bytes max")
  assert.equal(format.NONE, row[2].text)
  assert.equal(format.NONE, row[4].text)
end)

t.test("statistics: five runs per arm show counts first, then medians, p and n", function()
  local found = report.model(synthetic.result(5)).statistics
  assert.is_nil(found.warning)
  local rows = found.tables[1].rows
  assert.same({ "died within the run", "5 of 5", "0 of 5", "fewer", "0.008", "—" }, texts(rows[1]))
  local memory = texts(rows[2])
  assert.equal("0.008", memory[5])
  assert.matches("^0%.%d+ %(0%.%d+–0%.%d+%)$", memory[6])
  local columns = found.tables[1].columns
  assert.equal("after/before (95 % interval)", format.plain(columns[6].title))
  assert.equal("after against before, n = 5 + 5 runs", found.tables[1].title)
  contains(found.notes[1], "Fisher's exact test for counts of runs")
end)

t.test("statistics: n has a column where a value is missing in some runs", function()
  local result = synthetic.result(5)
  result.arms[1].runs[2].metrics["queue_bytes.max"] = nil
  local rows = report.model(result).statistics.tables[1].rows
  assert.equal("5+5", rows[1][6].text)
  assert.equal("4+5", row_named({ rows = rows }, "queued bytes max")[6].text)
end)

t.test("statistics: Fisher is named where a row is his", function()
  local result = synthetic.result(5)
  result.outcomes = nil
  local notes = table.concat(report.model(result).statistics.notes)
  contains(notes, "two-sided, Mann-Whitney, not adjusted")
  lacks(notes, "Fisher")
end)

t.test("statistics: three runs per arm are too few, and say so", function()
  local found = report.model(synthetic.result(3)).statistics
  contains(found.warning, "n is too small to tell: with 3 + 3 runs no p can be below 0.100")
  for _, row in ipairs(found.tables[1].rows) do
    assert.equal("~", row[4].text)
    assert.is_nil(row[6])
  end
  contains(table.concat(found.notes), "No interval of the ratio: it takes 5 runs per arm")
end)

t.test("statistics: one run per arm has a sentence and no table", function()
  local found = report.model(synthetic.result(1)).statistics
  assert.same({}, found.tables)
  contains(found.warning, "One run per arm shows what happened")
  contains(found.warning, "With 4 runs per arm (--repeat 4) the smallest possible p is 0.029.")
end)

t.test("statistics: no difference is marked ~", function()
  local result = synthetic.result(5)
  for i, run in ipairs(result.arms[2].runs) do
    run.metrics["server_memory.max"] = result.arms[1].runs[i].metrics["server_memory.max"] + (i % 2 - 0.5)
  end
  local row = row_named(report.model(result).statistics.tables[1], "server memory max")
  assert.equal("~", row[4].text)
end)

t.test("close codes: what was sent and not seen is explained", function()
  local closes = report.model(synthetic.result(5)).closes
  assert.same({ "after", "1013", "try again later", "50", "0" }, texts(closes.rows[3]))
  contains(table.concat(closes.notes), "does not read its close frame")
end)

t.test("close codes: nobody sends 1006, and the dead leave clients that do not notice", function()
  local result = synthetic.result(5)
  local closes = report.model(result).closes
  assert.same({ "before", "1006", "no close frame seen", "—", "500" }, texts(closes.rows[1]))
  contains(table.concat(closes.notes), "before: 50 clients did not notice that the server died: they do not")
  result.arms[1].runs[2].closes[1].seen = 510
  contains(table.concat(report.model(result).closes.notes), "before: 40–50 clients did not notice")
  for _, run in ipairs(result.arms[1].runs) do
    run.closes[1].seen = 550
  end
  lacks(table.concat(report.model(result).closes.notes), "notice")
end)

t.test("thresholds: held, not held and no data, with the unit of the metric", function()
  local result = synthetic.result(1)
  result.arms[2].runs[1].thresholds[3] = { metric = "unknown", expression = "max<20MB", unit = "bytes" }
  local rows = report.model(result).thresholds.rows
  assert.same({ "before", "server_memory", "max<200MiB", "251 MiB", "no" }, texts(rows[1]))
  assert.same({ "after", "fanout_lag{cohort:healthy}", "p(99)<100ms", "4.91 ms", "yes" }, texts(rows[3]))
  assert.same({ "after", "unknown", "max<20MB", "—", "no data" }, texts(rows[4]))
end)

t.test("thresholds: several runs are counted", function()
  local result = synthetic.result(5)
  result.arms[2].runs[4].thresholds[1].held = false
  result.arms[2].runs[5].thresholds[1].held = nil
  local cell = report.model(result).thresholds.rows[2][5]
  assert.same({ text = "3 of 5, no data in 1", tone = "bad" }, cell)
end)

t.test("a load that differs between runs is not called the same", function()
  local result = synthetic.result(3)
  contains(table.concat(report.model(result).method.sentences, " "), "was the same in all 6 runs")
  result.arms[1].runs[2].fingerprint.schedule_hash = "0000"
  local method = report.model(result).method
  contains(table.concat(method.sentences, " "), "was not the same in every run")
  assert.equal("differs between runs", row_named(method.load, "schedule hash")[2].text)
end)

t.test("a limit that is no cgroup is named with its reason", function()
  local result = synthetic.result(1)
  result.limit = { kind = "RLIMIT_DATA", bytes = 2 ^ 28, why = "/sys/fs/cgroup is read-only" }
  local told = format.plain(table.concat(report.model(result).method.sentences, " "))
  contains(told, "limited to 256 MiB by RLIMIT_DATA. Why not by a cgroup: /sys/fs/cgroup is read-only.")
end)

-- charts

t.test("chart: one bold run per arm, drawn last, the dead with their ending", function()
  local first = report.model(synthetic.result(5)).charts[1]
  local bold = {}
  for i, curve in ipairs(first.curves) do
    bold[i] = curve.bold
  end
  assert.same({ false, false, false, false, false, false, false, false, true, true }, bold)
  assert.equal("killed at 9.30 s", format.plain(first.curves[9].ending.text))
  assert.is_nil(first.curves[10].ending)
  assert.is_true(math.abs(first.curves[9].ending.x - 9.3 / 20) < 1e-6)
  contains(format.plain(first.description), "shaded from 2 s to 20 s: 50 clients stop reading")
end)

local function one_curve(values, spec)
  local moments = {}
  for i = 1, #values do
    moments[i] = i - 1
  end
  local run = { index = 1, outcome = { kind = "alive" }, series = { t = moments, x = values } }
  local arm = { name = "a", style = 1, runs = { run }, representative = run }
  local made = chart.build({ title = "x", series = "x", unit = "seconds", log = spec and spec.log }, { arm })
  return made and made.curves[1], made
end

t.test("chart: infinity is at the head of the axis, above all that is finite; NaN is a gap", function()
  local curve, made = one_curve { 1, HUGE, 0 / 0, 4 }
  assert.equal(1, curve.points[2][2])
  assert.is_false(curve.points[3])
  assert.is_true(curve.points[4][2] < 0.95)
  assert.equal("never", made.y_ticks[#made.y_ticks].text)
end)

t.test("chart: thinning keeps the peak and the ends", function()
  local values = {}
  for i = 1, 5000 do
    values[i] = 1
  end
  values[2718] = 9
  local curve = one_curve(values)
  assert.is_true(#curve.points <= 510)
  local highest = 0
  for _, point in ipairs(curve.points) do
    highest = math.max(highest, point[2])
  end
  assert.is_true(highest > 0.9)
end)

t.test("chart: nothing to draw is no chart", function()
  assert.is_nil(one_curve {})
  assert.is_nil(one_curve { 0 / 0, 0 / 0 })
end)

t.test("scale: ticks are round and inside", function()
  local bytes = scale.new { max = 250 * 1024 ^ 2, min = 1, unit = "bytes" }
  assert.equal("64 MiB", format.plain(bytes.ticks[2].text))
  local log = scale.new { max = 0.3, min = 0.002, unit = "seconds", log = true }
  assert.equal("1 ms", format.plain(log.ticks[1].text))
  assert.equal("1 s", format.plain(log.ticks[#log.ticks].text))
  for _, tick in ipairs(log.ticks) do
    assert.is_true(tick.place >= 0 and tick.place <= 1)
  end
  assert.equal("20 s", scale.time_ticks(20)[5].text)
end)

-- html

local VOID = { meta = true, br = true, link = true, hr = true }

-- The tags in their order; fails when one is closed that is not the innermost open one, or none is.
local function check_balance(page)
  local open, count = {}, 0
  local body = page:gsub("^<!DOCTYPE html>", ""):gsub("<style>.-</style>", "<style></style>")
  for slash, name in body:gmatch "<(/?)([%a%d]+)[^<>]*>" do
    count = count + 1
    if slash == "/" then
      assert.equal(open[#open], name)
      open[#open] = nil
    elseif not VOID[name] then
      open[#open + 1] = name
    end
  end
  assert.same({}, open)
  local _, brackets = body:gsub("<", "")
  assert.equal(count, brackets)
end

t.test("html: every tag is closed, in order", function()
  for _, n in ipairs { 1, 3, 5 } do
    check_balance(report.html(synthetic.result(n)))
  end
end)

t.test("html: ids are unique and everything that is referred to exists", function()
  local page, ids = report.html(synthetic.result(5)), {}
  for id in page:gmatch ' id="([^"]+)"' do
    assert.is_nil(ids[id], id)
    ids[id] = true
  end
  for list in page:gmatch 'aria%-labelledby="([^"]+)"' do
    for id in list:gmatch "%S+" do
      assert.is_true(ids[id], id)
    end
  end
end)

t.test("html: fetches nothing and runs nothing", function()
  local page = report.html(synthetic.result(5))
  for _, unwanted in ipairs { "http:", "https:", "<script", "<link", "@import", "url(", " src=", "onload" } do
    lacks(page, unwanted)
  end
end)

t.test("html: text of the result cannot become markup", function()
  local result = synthetic.result(1)
  result.name = [[<script>alert("1")</script>]]
  result.verdict.reasons = { "a < b & 'c'" }
  result.arms[1].name = "<b>"
  result.charts[1].lines[1].label = "</svg>"
  local page = report.html(result)
  check_balance(page)
  lacks(page, "<script>")
  contains(page, "a &lt; b &amp; &#39;c&#39;")
end)

t.test("html: says all that the run is judged by, from the verdict down", function()
  local result = synthetic.result(5)
  local page = format.plain(report.html(result))
  local from = 1
  for _, wanted in ipairs {
    "<h1>backpressure</h1>", "✓ PROVEN", "before was killed in 5 of 5 runs", "Before and after",
    "high_water_mark", "<svg", "memory limit 256 MiB", "50 clients stop reading", "killed at 9.30 s",
    "Close codes", "1013", "Thresholds", "max&lt;200MiB", "0.008",
    "The lever: per-connection high-water mark", "a bigger machine", "cgroup v1", "generator lateness p99",
    "7c1f9a3e5b20d846", "Linux 6.18.0", "--repeat 5",
  } do
    local _, last = page:find(wanted, from, true)
    assert.is_truthy(last, wanted)
    from = last
  end
end)

-- one truth

local function cells_of_html(page)
  local cells = {}
  page = page:gsub("<style>.-</style>", "")
  for cell in page:gmatch "<t[hd][^>]*>([^<]*)</t[hd]>" do
    cell = cell:gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&#39;", "'"):gsub("&quot;", '"'):gsub("&amp;", "&")
    cells[#cells + 1] = format.plain(cell)
  end
  return cells
end

local function cells_of_markdown(text)
  local cells = {}
  for line in text:gmatch "[^\n]+" do
    if line:find "^| " and not line:find "^| %-%-%-" then
      for cell in line:sub(2):gmatch " (.-) |" do
        cells[#cells + 1] = (cell:gsub("\\(%p)", "%1"))
      end
    end
  end
  return cells
end

t.test("html and markdown show the same cells in the same order", function()
  for _, n in ipairs { 1, 3, 5 } do
    local result = synthetic.result(n)
    local of_html = cells_of_html(report.html(result))
    assert.is_true(#of_html > 60)
    assert.same(of_html, cells_of_markdown(report.markdown(result)))
  end
end)

-- Cells as the terminal separates them, by two blanks or more.
local function squeeze(line)
  return (line:gsub("  +", "|"):gsub("^|", ""):gsub("|$", ""))
end

t.test("the terminal shows the same cells too", function()
  local result, lines = synthetic.result(5), {}
  for line in report.text(result, { width = 400 }):gmatch "[^\n]+" do
    lines[squeeze(line)] = true
  end
  local found = report.model(result)
  for _, spec in ipairs { found.overview, found.closes, found.thresholds, found.statistics.tables[1] } do
    for _, row in ipairs(spec.rows) do
      local line = squeeze(table.concat(texts(row), "  "))
      assert.is_true(lines[line], line)
    end
  end
end)

-- text

t.test("text: the verdict is the last paragraph, hung on its word", function()
  local text = report.text(synthetic.result(5))
  assert.matches("\nPROVEN  high%-water mark 256 KiB: [^\n]+\n$", text)
  text = report.text(synthetic.result(5), { width = 60 })
  assert.matches("\nPROVEN  high%-water [^\n]+\n        [^\n ][^\n]+\n$", text)
end)

t.test("text: fits the terminal, and colour adds nothing but colour", function()
  local result = synthetic.result(5)
  local narrow = report.text(result, { width = 80 })
  for line in narrow:gmatch "[^\n]+" do
    assert.is_true(utf8.len(line) <= 80, line)
  end
  lacks(narrow, "\27")
  local coloured = report.text(result, { width = 80, color = true })
  contains(coloured, "\27[32mPROVEN\27[0m")
  local bare = coloured:gsub("\27%[%d*m", ""):gsub(" +\n", "\n")
  assert.equal(narrow, bare)
end)

-- csv

local HEADER = "arm,run,t_s,cpu,fanout_lag_p99,kernel_socket_bytes,queue_bytes,rss,server_memory,slow_clients"

t.test("csv: a row per sample, infinities spelled out, names quoted where they must be", function()
  local result = synthetic.result(2)
  result.arms[1].name = 'before, "copy"'
  result.arms[1].runs[1].series.fanout_lag_p99[1] = HUGE
  result.arms[1].runs[1].series.cpu[1] = 0 / 0
  local csv, samples = report.csv(result), 0
  for _, arm in ipairs(result.arms) do
    for _, run in ipairs(arm.runs) do
      samples = samples + #run.series.t
    end
  end
  local _, lines = csv:gsub("\n", "")
  assert.equal(samples + 1, lines)
  assert.equal(HEADER, csv:match "^[^\n]+")
  contains(csv, '\n"before, ""copy""",1,0,,inf,')
end)

-- what a run that went wrong leaves

t.test("a result with hardly anything in it still makes a report", function()
  local result = { name = "bare", arms = {}, verdict = { word = "INCONCLUSIVE" } }
  for _ = 1, 2 do
    check_balance(report.html(result))
    contains(report.markdown(result), "INCONCLUSIVE")
    assert.matches("INCONCLUSIVE\n$", report.text(result))
    assert.equal("arm,run,t_s\n", report.csv(result))
    local run = { index = 1, outcome = { kind = "exited", text = "exited 70" } }
    result.arms = { { name = "only", role = "base", runs = { run } } }
  end
  contains(report.text(result), "exited 70")
end)
