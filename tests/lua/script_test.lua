local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local errors = require "wsb.base.errors"
local script = require "wsb.command.script"

local function nothing() end

local function contains(text, part)
  assert(text:find(part, 1, true), ("'%s' does not contain '%s'"):format(text, part))
end

local function experiment(changes)
  local spec = { name = "x", description = "x", arms = { { name = "before" }, { name = "after" } },
    setup = nothing, workload = nothing, thresholds = { after = { rss = { "max<1GiB" } } } }
  for field, value in pairs(changes or {}) do
    spec[field] = value
  end
  return spec
end

local function refusal(spec)
  local ok, err = pcall(script.validate, spec, "x.lua")
  assert(not ok, "expected an error")
  assert.equal(70, err.exit)
  assert.is_nil(err.traceback)
  return err.message
end

t.test("the smallest experiment and the smallest command are accepted", function()
  script.validate(experiment(), "x.lua")
  script.validate({ name = "x", description = "x", run = nothing }, "x.lua")
end)

local function checks(changes)
  local check = { name = "a", sent = "b", expected = "c", run = nothing }
  for field, value in pairs(changes or {}) do
    check[field] = value
  end
  return { name = "x", description = "x", checks = { check } }
end

t.test("rows of checks are accepted, and what is wrong with one is named", function()
  script.validate(checks(), "x.lua")
  script.validate(checks { expected = { "c", "d" }, unless = nothing }, "x.lua")
  script.validate(checks { expected = nothing }, "x.lua")
  contains(refusal(checks { expected = {} }), "checks[1].expected: '{}' is not accepted: give text")
  contains(refusal(checks { expected = 5 }), "checks[1].expected: '5' is not accepted: give a list")
  contains(refusal(checks { run = "x" }), "checks[1].run: 'x' is not accepted: give a function")
  contains(refusal(checks { need = "x" }), "checks[1].need: no such field")
  contains(refusal { name = "x", description = "x", checks = {} }, "checks: none: give at least one")
  contains(refusal { name = "x", description = "x", checks = { { name = "a" } } }, "checks[1].")
end)

t.test("the bundled scripts are accepted", function()
  for _, bundled in ipairs(script.bundled()) do
    script.load(bundled.path)
  end
end)

t.test("not a table, or without what it needs", function()
  assert.equal("x.lua: returns nil: it has to return a table", refusal(nil))
  assert.equal("x.lua: arms: missing: it has to be there",
    refusal { name = "x", description = "x", setup = nothing, workload = nothing })
  assert.truthy(refusal(experiment { arms = { { name = "a" } } }):find("give at least two", 1, true))
end)

t.test("an unknown field is named, with the nearest", function()
  assert.equal("x.lua: threshold: no such field: did you mean thresholds?",
    refusal(experiment { threshold = {} }))
  assert.equal("x.lua: arms[2].servr: no such field: did you mean server?",
    refusal(experiment { arms = { { name = "a" }, { name = "b", servr = {} } } }))
end)

t.test("a field of another type names field, value and what is accepted", function()
  assert.equal("x.lua: description: '5' is not accepted: give text", refusal(experiment { description = 5 }))
  contains(refusal(experiment { workload = "x" }), "workload: 'x' is not accepted: give a function")
  contains(refusal(experiment { steady_state = { { "x" } } }), "steady_state[1]: not accepted")
  contains(refusal(experiment { name = "a b" }), "name: 'a b' is not accepted")
  contains(refusal(experiment { compare = { a = "b" } }), "compare.a: not accepted: give a list")
end)

t.test("options of an arm are checked against config.def", function()
  local function arm(changes)
    return experiment { arms = { { name = "a", server = changes.server, clients = changes.clients },
      { name = "after" } } }
  end
  assert.equal("x.lua: arms[1].server.high_water_mrk: no such option of the server: did you mean "
    .. "high_water_mark?", refusal(arm { server = { high_water_mrk = 1 } }))
  contains(refusal(arm { server = { on_overflow = "drop" } }),
    "arms[1].server.on_overflow: 'drop' is not accepted: give one of none, close")
  contains(refusal(arm { clients = { connect_rate = "x" } }), "arms[1].clients.connect_rate: 'x'")
end)

t.test("thresholds: unknown arm, metric, expression", function()
  local function threshold(list)
    return refusal(experiment { thresholds = { before = list } })
  end
  assert.equal("x.lua: thresholds.befor: no such arm: did you mean before?",
    refusal(experiment { thresholds = { befor = {} } }))
  contains(threshold { server_memry = { "max<1MiB" } }, "thresholds.before.server_memry[1]: ")
  contains(threshold { expect = "die" },
    "thresholds.before.expect: 'die' is not accepted: give pass, fail or any")
  contains(refusal(experiment { compare = { "nothing.max" } }), "compare[1]: 'nothing.max'")
end)

t.test("a treatment has to be asked something, unless it is to fail", function()
  local missing = "x.lua: thresholds.after: missing: give at least one"
  for _, own in ipairs { {}, { expect = "pass" }, { rss = {} } } do
    contains(refusal(experiment { thresholds = { after = own } }), missing)
  end
  contains(refusal(experiment { thresholds = { before = {} } }), missing)
  script.validate(experiment { thresholds = { after = { expect = "fail" } } }, "x.lua")
end)

t.test("a chart's lines are a list, or a function that makes one", function()
  local function lines(value)
    return experiment { charts = { { title = "t", series = "rss", unit = "bytes", lines = value } } }
  end
  script.validate(lines { { value = "1MiB", label = "l" } }, "x.lua")
  script.validate(lines(nothing), "x.lua")
  contains(refusal(lines { { value = 1 } }), "charts[1].lines[1].label: missing")
end)

t.test("an option may stand in an arm and in a threshold", function()
  script.validate(experiment { options = { mark = { "m", "256KiB" } },
    arms = { { name = "before" }, { name = "after", server = { high_water_mark = "$mark" } } },
    thresholds = { after = { queue_bytes = { "max<$mark" } } } }, "x.lua")
end)

local function load_text(text)
  local path = t.tmpdir() .. "/it.lua"
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return pcall(script.load, path)
end

t.test("a syntax error is one line with file and line", function()
  local ok, err = load_text "return {\n  name = \n}"
  assert.is_false(ok)
  assert.equal(70, err.exit)
  assert.truthy(err.message:find("it.lua:3: unexpected symbol near '}': correct the syntax", 1, true))
end)

t.test("no globals are there beside Lua's own", function()
  local ok, loaded = load_text 'return { name = "x", description = tostring(wsb), run = function() end }'
  assert.is_true(ok)
  assert.equal("nil", loaded.spec.description)
end)

t.test("scripts are found by bundled name and by path", function()
  assert.equal("./scripts/serve.lua", script.find "serve")
  assert.equal("scripts/serve.lua", script.find "scripts/serve.lua")
  assert.equal("-", script.find "-")
end)

t.test("an error in a function of the script names the script's line", function()
  local _, loaded = load_text 'return { name = "x", description = "x", run = function(f)\n\n  f()\nend }'
  local function raise() errors.raise(errors.SCRIPT, "field: missing") end
  local ok, err = pcall(loaded.spec.run, raise)
  assert.is_false(ok)
  assert.matches("it%.lua:3: field: missing$", err.message)
  ok, err = pcall(raise)
  assert.is_false(ok)
  assert.equal("field: missing", err.message)
  ok, err = pcall(loaded.spec.run, function() errors.raise(errors.USAGE, "port: taken") end)
  assert.is_false(ok)
  assert.equal("port: taken", err.message)
end)

t.test("a file is suggested to whom forgets its ending, another word where one is given", function()
  local path = t.tmpdir() .. "/it"
  assert(io.open(path .. ".lua", "w")):close()
  local _, err = pcall(script.find, path)
  assert.equal(("script: '%s' does not exist: did you mean %s.lua?"):format(path, path), err.message)
  _, err = pcall(script.find, "chek", { "check" })
  assert.equal("script: 'chek' does not exist: did you mean check?", err.message)
end)

t.test("a script that does not exist suggests the nearest", function()
  for _, word in ipairs { "backpresure", "scripts/backpresure.lua" } do
    local ok, err = pcall(script.find, word)
    assert.is_false(ok)
    assert.equal(64, err.exit)
    assert.equal(("script: '%s' does not exist: did you mean backpressure?"):format(word), err.message)
  end
end)
