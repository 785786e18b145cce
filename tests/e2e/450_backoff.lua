-- Sweeps: the bundled one, made small, and one of a user's own that measures nothing but how it is run.
-- Runs alone.

local lab = require "lab"
local t = require "harness"

local ARMS = { "fixed", "exponential", "equal-jitter", "full-jitter", "decorrelated" }
local EXITS = { PROVEN = 0, REFUTED = 1, INCONCLUSIVE = 2 }

local function backoff(dir, ...)
  return lab.run(dir, { "backoff", "--slots", "5", "--handshake", "20ms", "--base", "40ms", "--cap", "160ms",
    "--quiet", ... })
end

-- 12345 as the report writes it.
local function written(count)
  local text = ("%d"):format(count)
  return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
end

local function check_runs(result)
  for i, arm in ipairs(result.arms) do
    assert(arm.name == ARMS[i] and #arm.runs == 2, arm.name)
    for place, run in ipairs(arm.runs) do
      assert(run.point == result.over.values[place] and run.index == 1)
      local values = run.values
      assert(values.calls >= run.point, "everybody called")
      assert(values.refused == values.calls - run.point, "who was not let in was refused")
      assert(values.seconds > 0 and values.seconds < 60, values.seconds)
    end
    assert(arm.runs[2].values.calls > 80, arm.name .. ": nobody collided")
  end
end

t.test("wsb backoff lets everybody in, and leaves what it found in every form", function()
  local dir = t.tmpdir()
  local r = backoff(dir, "--clients", "80,4")
  local result, path = lab.result(dir, "backoff")
  assert(result.schema == "wsb.sweep/1" and r.stderr == "", r.stderr)
  assert(result.over.values[1] == 4 and result.over.values[2] == 80, "the points in order")
  assert(r.code == EXITS[result.verdict.word], result.verdict.word)
  check_runs(result)
  local html, markdown = lab.read(path .. "/report.html"), lab.read(path .. "/report.md")
  local csv = lab.read(path .. "/samples.csv")
  for _, arm in ipairs(result.arms) do
    local values = arm.runs[2].values
    local row = ("%s,1,80,%d,%.10g,%d\n"):format(arm.name, values.calls, values.seconds, values.refused)
    assert(csv:find(row, 1, true), row)
    for _, page in ipairs { html, markdown, r.stdout } do
      assert(page:find(arm.name, 1, true) and page:find(written(values.calls), 1, true), arm.name)
    end
  end
  for _, page in ipairs { html, markdown, r.stdout } do
    assert(page:find(result.verdict.word, 1, true))
    assert(page:find("calls at 80 clients: full-jitter", 1, true))
  end
  local _, curves = html:gsub('class="curve ', "")
  assert(curves == 2 * #ARMS, "an arm a curve")
  assert(lab.read(path .. "/script.lua") and lab.read(path .. "/env.json"))
  assert(lab.read(path .. "/fixed-80-1/server.log") and lab.read(path .. "/fixed-80-1/herd-1.log"))
  lab.nothing_left(r)
end, { timeout = 120 })

t.test("where few collide, nothing was shown: INCONCLUSIVE", function()
  local r = backoff(t.tmpdir(), "--clients", "3,39")
  assert(r.code == 2 and r.stdout:find "\nINCONCLUSIVE  Nothing was shown", r.stdout)
  assert(r.stdout:find "could not be told: calls at 39 clients")
end)

t.test("--arms leaves arms out, and what is expected of them cannot be told", function()
  local dir = t.tmpdir()
  local r = backoff(dir, "--clients", "20", "--arms", "full-jitter")
  local result = lab.result(dir, "backoff")
  assert(r.code == 2 and #result.arms == 2 and result.arms[2].name == "full-jitter")
end)

local OWN = [[
return { name = "own", description = "d",
  options = { sizes = { "points", "1KiB,2KiB" }, wrong = { "whether", false }, column = { "c", "calls" } },
  over = { name = "size", values = "$sizes", unit = "bytes" },
  arms = { { name = "a" }, { name = "b" } },
  measure = function(ctx, point)
    print(ctx.arm, point, ctx.seed)
    return { [ctx.opt.column] = point * (ctx.arm == "a" and 1 or 2) }
  end,
  columns = { { name = "calls", unit = "bytes" } },
  charts = { { title = "C", column = "calls" } },
  expect = function(results)
    local a, b = "a", "b"
    if results.opt.wrong then a, b = b, a end
    return { results:less("calls", a, b) }
  end,
  claim = "a has less than b" }
]]

local function own(...)
  local dir = t.tmpdir()
  lab.write(dir .. "/own.lua", OWN)
  return lab.run(dir, { "own.lua", ... }), dir
end

t.test("repetitions stand outermost, then points, then arms; each has a seed", function()
  local r, dir = own("--repeat", "2", "--seed", "7", "--quiet")
  assert(r.code == 0 and r.stderr == "", r.stderr)
  local order = "a 1024 7\nb 1024 7\na 2048 7\nb 2048 7\na 1024 8\nb 1024 8\na 2048 8\nb 2048 8\n"
  assert(r.stdout:gsub("\t", " "):sub(1, #order) == order, r.stdout)
  assert(r.stdout:find("calls at size 2 KiB: a 2 KiB, less than b 4 KiB", 1, true), r.stdout)
  local result = lab.result(dir, "own")
  assert(result["repeat"] == 2 and #result.arms[1].runs == 4)
  assert(result.command == "wsb own.lua --repeat 2 --seed 7", result.command)
end)

t.test("an expectation that does not hold: REFUTED", function()
  local r = own("--wrong", "--quiet")
  assert(r.code == 1 and r.stdout:find "\nREFUTED  The claim did not hold: a has less than b\n", r.stdout)
  assert(r.stdout:find "did not hold: calls at size 2 KiB: b 4 KiB, less than a 2 KiB")
end)

t.test("clients that could not connect leave a doubt: INCONCLUSIVE", function()
  local connect = 'ctx:clients { cohort = "lost", n = 2, url = "ws://127.0.0.1:1/" }\n    return'
  local dir = t.tmpdir()
  lab.write(dir .. "/own.lua", (OWN:gsub("    return", "    " .. connect, 1)))
  local r = lab.run(dir, { "own.lua", "--sizes", "1KiB", "--quiet" })
  assert(r.code == 2, r.stdout)
  local doubt = "- a at size 1 KiB, run 1: 2 of 2 clients of lost could not connect"
  assert(r.stdout:find(doubt, 1, true), r.stdout)
  lab.nothing_left(r)
end)

t.test("progress goes to stderr, a line a point and arm", function()
  local r = own("--sizes", "4KiB")
  assert(r.stderr:find("a at size 4 KiB  calls 4 KiB\n", 1, true), r.stderr)
  assert(r.stderr:find("b at size 4 KiB  calls 8 KiB\n", 1, true), r.stderr)
end)

t.test("what is wrong is named: a point, an arm, a column that measure returns", function()
  local r, dir = own("--sizes", "1KiB,x")
  assert(r.code == 64 and r.stderr:find("--sizes: 'x' is not accepted: give ", 1, true), r.stderr)
  assert(#lab.names(dir .. "/runs") == 0, "left something")
  r = own("--arms", "c")
  assert(r.code == 64 and r.stderr:find("--arms: 'c' is no arm", 1, true), r.stderr)
  r, dir = own("--column", "cals")
  local wanted = "measure(ctx, point).cals: no such column: did you mean calls?"
  assert(r.code == 70 and r.stderr:find(wanted, 1, true), r.stderr)
  assert(#lab.names(dir .. "/runs") == 0, "left something")
end)

t.test("check and help know sweeps", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/own.lua", OWN)
  assert(lab.run(dir, { "check", "own.lua" }).code == 0)
  lab.write(dir .. "/bad.lua", (OWN:gsub('column = "calls"', 'column = "call"')))
  local bad = lab.run(dir, { "check", "bad.lua" })
  assert(bad.code == 70 and bad.stderr:find("bad.lua: charts[1].column: 'call': no such column", 1, true))
  local help = lab.run(dir, { "help", "backoff" })
  for _, flag in ipairs { "--clients", "--slots", "--repeat", "--seed", "--arms", "--quiet", "--runs-dir" } do
    assert(help.stdout:find(flag, 1, true), flag)
  end
end)
