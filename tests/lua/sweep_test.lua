local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local expected = require "wsb.judge.expected"
local format = require "wsb.report.format"
local points = require "wsb.command.points"
local report = require "wsb.report.sweep"
local scale = require "wsb.report.scale"
local script = require "wsb.command.script"

local function nothing() end

local function contains(text, part)
  assert(text:find(part, 1, true), ("'%s' does not contain '%s'"):format(text, part))
end

local function sweep(changes)
  local spec = { name = "x", description = "x", over = { name = "n", values = { 1, 2 } },
    arms = { { name = "a" }, { name = "b" } }, measure = nothing, columns = { { name = "calls" } },
    expect = nothing }
  for field, value in pairs(changes or {}) do
    if value == "none" then value = nil end
    spec[field] = value
  end
  return spec
end

local function refusal(changes)
  local ok, err = pcall(script.validate, sweep(changes), "x.lua")
  assert(not ok, "expected an error")
  assert.equal(70, err.exit)
  assert.is_nil(err.traceback)
  return err.message
end

t.test("the smallest sweep is accepted, and one with all there is", function()
  script.validate(sweep(), "x.lua")
  script.validate(sweep { options = { sizes = { "s", "1KiB,2KiB" } },
    over = { name = "size", label = "message size", values = "$sizes", unit = "bytes", log = true },
    arms = { { name = "a", server = { queue = "copy" }, clients = { seed = 3 }, optional = true } },
    columns = { { name = "cpu", label = "CPU", unit = "ratio", better = "lower" } },
    charts = { { title = "CPU", column = "cpu", log = true } }, network = { somaxconn = 5 }, claim = "c",
    writeup = { lever = "l", why = "w" } }, "x.lua")
end)

t.test("what is wrong with a field is named", function()
  assert.equal("x.lua: measur: no such field: did you mean measure?", refusal { measur = nothing })
  for _, field in ipairs { "over", "measure", "columns", "expect", "arms" } do
    contains(refusal { [field] = "none" }, field .. ": missing")
  end
  contains(refusal { over = { name = "n" } }, "over.values: missing")
  contains(refusal { over = { name = "n", values = {} } }, "over.values: none: give at least one")
  contains(refusal { over = { name = "n", values = { 1, "x" } } }, "over.values: 'x' is not accepted: give ")
  contains(refusal { over = { name = "n", values = { 5, 5 } } }, "'5' is not accepted: give each value once")
  contains(refusal { over = { name = "n", values = { 0 }, log = true } }, "give more than 0")
  contains(refusal { over = { name = "n", values = "$sizes" } }, "'$sizes': no such option")
  contains(refusal { over = { name = "n", values = { 1 }, unit = "hours" } },
    "over.unit: 'hours' is not accepted: give one of count, bytes, seconds, ratio")
  contains(refusal { columns = {} }, "columns: none")
  contains(refusal { arms = {} }, "arms: none")
  contains(refusal { arms = { { name = "a" }, { name = "a" } } }, "arms[2].name: 'a' is there already")
  contains(refusal { arms = { { name = "a", server = { quue = 1 } } } }, "arms[1].server.quue: no such opt")
  contains(refusal { columns = { { name = "c", better = "big" } } }, "columns[1].better: 'big' is not")
  contains(refusal { columns = { { name = "c" }, { name = "c" } } }, "columns[2].name: 'c' is there already")
  contains(refusal { charts = { { title = "t", column = "cals" } } },
    "charts[1].column: 'cals': no such column: did you mean calls?")
end)

t.test("points are read with their unit and put in order", function()
  assert.same({ 1024, 4096 }, points.read({ values = "4KiB, 1KiB", unit = "bytes" }, "--sizes", 64))
  assert.same({ 0.25, 2 }, points.read({ values = { "250ms", 2 }, unit = "seconds" }, "x", 70))
  local ok, err = pcall(points.read, { values = "1,x" }, "--clients", 64)
  assert(not ok and err.exit == 64)
  contains(err.message, "--clients: 'x' is not accepted: give ")
end)

-- Two arms at 10 and 1000; `values[arm][point]` is a list, a value a repetition.
local function result(values, changes)
  local made = { schema = "wsb.sweep/1", name = "x", description = "What <grows>?", command = "wsb x",
    seed = 1, duration_s = 1, options = {}, environment = {},
    over = { name = "clients", label = "clients", unit = "count", log = true, values = { 10, 1000 } },
    columns = { { name = "calls", label = "calls", unit = "count", better = "lower" } },
    charts = { { title = "Calls", column = "calls", log = true } }, arms = {}, claim = "It does.",
    ["repeat"] = 1 }
  for i, name in ipairs { "fixed", "jitter" } do
    made.arms[i] = { name = name, options = {}, runs = {} }
    for _, point in ipairs(made.over.values) do
      for index, value in ipairs(values[name][point] or {}) do
        made["repeat"] = math.max(made["repeat"], index)
        table.insert(made.arms[i].runs, { index = index, point = point,
          values = { calls = value ~= "none" and value or nil } })
      end
    end
  end
  for field, value in pairs(changes or {}) do
    made[field] = value
  end
  return made
end

local GROWN = { fixed = { [10] = { 10, 10, 10 }, [1000] = { 9000, 11000, 10000 } },
  jitter = { [10] = { 12, 13, 11 }, [1000] = { 4000, 4200, 4100 } } }

local function asked(values)
  return expected.results(result(values), {}, format)
end

t.test("results are asked by arm, point and column", function()
  local results = asked(GROWN)
  assert.same({ 9000, 11000, 10000 }, results:values("fixed", 1000, "calls"))
  assert.equal(10000, results:median("fixed", 1000, "calls"))
  assert.is_nil(results:median("other", 1000, "calls"))
  assert.is_nil(results:median("fixed", 7, "calls"))
  assert.equal("10,1000", results.least .. "," .. results.most)
  local ok, err = pcall(results.median, results, "fixed", 10, "cals")
  assert.is_false(ok)
  contains(err.message, "'cals': no such column: did you mean calls?")
end)

t.test("less: held, not held, and not to be told", function()
  local results = asked(GROWN)
  local one = results:less("calls", "jitter", "fixed")
  assert.is_true(one.held)
  assert.equal("calls at 1,000 clients: jitter 4,100, less than fixed 10,000", one.text)
  assert.is_true(results:less("calls", "jitter", "fixed", nil, 2).held)
  assert.is_false(results:less("calls", "jitter", "fixed", nil, 3).held)
  assert.is_false(results:less("calls", "jitter", "fixed", 10).held)
  assert.is_nil(results:less("calls", "other", "fixed").held)
  assert.is_false(asked { fixed = { [1000] = { 5 } }, jitter = { [1000] = { 5 } } }
    :less("calls", "jitter", "fixed").held)
end)

t.test("the verdict: one that did not hold refutes, doubts outweigh it", function()
  local held, failed, unknown = { text = "a", held = true }, { text = "b", held = false }, { text = "c" }
  local function word(list, doubts) return expected.judge(list, doubts or {}).word end
  assert.equal("PROVEN", word { held, held })
  assert.equal("REFUTED", word { held, failed, unknown })
  assert.equal("INCONCLUSIVE", word { held, unknown })
  assert.equal("INCONCLUSIVE", word({ held, failed }, { "late" }))
  assert.same({ "late", "did not hold: b", "could not be told: c" },
    expected.judge({ held, failed, unknown }, { "late" }).reasons)
end)

local function judged(values, changes)
  local made = result(values, changes)
  made.expectations = { { text = "a < b", held = true }, { text = "c", held = false }, { text = "d" } }
  made.verdict = expected.judge(made.expectations, {})
  return made
end

t.test("terminal, page and Markdown say the same", function()
  local made = judged(GROWN)
  local text, html, markdown = report.text(made), report.html(made), report.markdown(made)
  assert.matches("1,000 +10,000 %(9,000–11,000%) +4,100 %(4,000–4,200%)", text)
  assert.matches("\nREFUTED  The claim did not hold: It does.\n$", text)
  contains(html, "10,000 (9,000–11,000)")
  contains(html, "What &lt;grows&gt;?")
  contains(markdown, "| 1,000 | 10,000 (9,000–11,000) | 4,100 (4,000–4,200) |")
  for _, page in ipairs { text, html, markdown } do
    contains(page, "Medians of 3 runs (least–most). Less is better.")
    contains(page, "did not hold: c")
    contains(page, "could not be told")
    contains(page, "REFUTED")
  end
end)

t.test("a chart has a bold line an arm and a faint one a run, along a logarithmic axis", function()
  local html = report.html(judged(GROWN))
  local _, bold = html:gsub('class="curve arm%-%d bold"', "")
  local _, faint = html:gsub('class="curve arm%-%d faint"', "")
  assert.equal("2 bold, 6 faint", ("%d bold, %d faint"):format(bold, faint))
  contains(html, "fixed: at most 10,000, 10,000 at 1,000 clients")
  contains(html, "<h3>Calls, logarithmic</h3>")
end)

t.test("the axis: ticks at the points, none too near another, the last always there", function()
  local function ticks(values, log)
    local texts = {}
    for i, tick in ipairs(scale.points { values = values, unit = "count", label = "c", log = log }.ticks) do
      texts[i] = tick.text
    end
    return table.concat(texts, "|")
  end
  assert.equal("10|100|1,000", ticks({ 10, 100, 1000 }, true))
  assert.equal("10|500|1,000", ticks({ 10, 20, 500, 1000 }))
  assert.equal("10|1,000", ticks({ 10, 990, 1000 }, true))
  assert.equal("7", ticks({ 7 }, true))
  local log = scale.points { values = { 10, 100, 1000 }, unit = "count", label = "c", log = true }
  assert.is_true(math.abs(log.place(100) - 0.5) < 1e-9)
  assert.equal(0.5, scale.points({ values = { 10, 100 }, unit = "count", label = "c" }).place(50))
end)

t.test("what was not measured is a dash, never is said, and both are left out of no table", function()
  local made = judged { fixed = { [10] = { "none" }, [1000] = { math.huge } }, jitter = { [10] = { 3 } } }
  made.columns[1].unit = "seconds"
  assert.matches("\n10 +— +3 s\n1,000 +never +—\n", report.text(made))
  assert.equal("arm,run,clients,calls\nfixed,1,10,\nfixed,1,1000,inf\njitter,1,10,3\n", report.csv(made))
end)
