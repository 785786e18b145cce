-- The command line, as somebody meets it who types before reading.

local lab = require "lab"
local t = require "harness"

-- What every refusal has to be: that status, nothing on stdout, and one line that says all these things.
local function refused(r, code, ...)
  assert(r.code == code, ("code %d"):format(r.code))
  assert(r.stdout == "", "something on stdout")
  assert(r.stderr:find "^wsb: [^\n]+\n$", "not one line")
  for _, word in ipairs { ... } do
    assert(r.stderr:find(word, 1, true), ("it does not say '%s'"):format(word))
  end
end

local function refuses(words, code, ...)
  local dir = t.tmpdir()
  refused(lab.run(dir, words), code, ...)
  assert(#lab.names(dir) == 0, "a file was left behind")
end

-- Runs a script with that text, in a directory of its own.
local function run_script(text, ...)
  local dir = t.tmpdir()
  lab.write(dir .. "/mine.lua", text)
  local r = lab.run(dir, { "mine.lua", ... })
  assert(#lab.names(dir) == 1, "a file was left behind")
  return r
end

local function prints(words, ...)
  local r = lab.run(t.tmpdir(), words)
  assert(r.code == 0, ("code %d"):format(r.code))
  assert(r.stderr == "", "something on stderr")
  for _, word in ipairs { ... } do
    assert(r.stdout:find(word, 1, true), ("it does not say '%s'"):format(word))
  end
  return r.stdout
end

local EXPERIMENT = [[
return {
  name = "mine", description = "a test's own",
  arms = { { name = "before", server = {%s} }, { name = "%s" } },
  setup = function(ctx) ctx:serve {} end,
  workload = function(ctx) ctx:publish { rate = "10/s", duration = "1s" } end,
  %s
}
]]
local THRESHOLDS = 'thresholds = { after = { rss = { "max<1GiB" } } },'

local function experiment(server, second_arm, more)
  more = more or ""
  if not more:find "thresholds" then more = THRESHOLDS .. more end
  return EXPERIMENT:format(server or "", second_arm or "after", more)
end

local COMMAND = 'return { name = "mine", description = "a test\'s own", run = function(ctx)\n%s\nend }\n'

t.test("--version is one line", function()
  assert(prints({ "--version" }):find "^wsb %d+%.%d+%.%d+[^\n]*\n$")
end)

t.test("--help, -h and help are the same and name every verb", function()
  local text = prints({ "--help" }, "wsb list", "wsb help", "wsb check", "wsb doctor", "Exit status")
  assert(prints { "-h" } == text and prints { "help" } == text)
  for _, verb in ipairs { "run", "list", "help", "check", "doctor" } do
    assert(prints { "help", verb } == text)
  end
end)

t.test("without a word it says how to use it, and is status 64", function()
  local r = lab.run(t.tmpdir(), {})
  assert(r.code == 64 and r.stdout == "")
  assert(r.stderr:find "^Usage: wsb ")
end)

t.test("list names each bundled script with a sentence", function()
  local text = prints({ "list" })
  assert(("\n" .. text):find "\nbackpressure +%u[^\n]+%.\n")
  assert(("\n" .. text):find "\nserve +%u[^\n]+%.\n")
end)

t.test("help NAME lists the script's options and those of every experiment", function()
  prints({ "help", "backpressure" }, "--mark <size>", "--stalled <count>", "256KiB", "--repeat", "--seed",
    "shared|copy")
  prints({ "help", "serve" }, "--port", "--path", "--feed ", "--high-water-mark", "--echo")
  assert(prints { "backpressure", "--help" } == prints { "help", "backpressure" })
end)

t.test("help metrics and help options print the tables that scripts are checked by", function()
  prints({ "help", "metrics" }, "server_memory", "flatness", "p(99)", "cohort", "evictions_mark")
  prints({ "help", "options" }, "high_water_mark", "drop-oldest", "live", "fixed", "read_rate")
end)

t.test("check runs nothing", function()
  prints({ "check", "backpressure" }, "well formed")
  prints({ "check", "serve" }, "well formed")
end)

t.test("check finds a script by its path", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/mine.lua", experiment())
  local r = lab.run(dir, { "check", "mine.lua" })
  assert(r.code == 0 and r.stdout == "mine.lua: well formed\n")
end)

t.test("a script comes from standard input", function()
  local script = COMMAND:format 'print("ran", ctx.opt.n)'
  script = script:gsub("run =", 'options = { n = { "a number", 5 } }, run =')
  local r = t.run({ t.wsb, "-", "--n", "7" }, { stdin = script })
  assert(r.code == 0 and r.stdout == "ran\t7\n" and r.stderr == "")
  r = t.run({ t.wsb, "-" }, { stdin = "return {" })
  refused(r, 70, "standard input:1:")
end)

t.test("a script's number is the exit status", function()
  assert(run_script(COMMAND:format "return 7").code == 7)
end)

t.test("a name that is nearly right is suggested", function()
  refuses({ "backpresure" }, 64, "'backpresure'", "did you mean backpressure?")
  refuses({ "run", "scripts/backpresure.lua" }, 64, "did you mean backpressure?")
  refuses({ "sevre" }, 64, "did you mean serve?")
  refuses({ "backpressure", "--mrak", "1MiB" }, 64, "'--mrak'", "did you mean --mark?")
  refuses({ "serve", "--fed", "1/s" }, 64, "'--fed'", "did you mean --feed?")
  refuses({ "chek", "serve" }, 64, "'chek'", "did you mean check?")
  refuses({ "help", "metric" }, 64, "'metric'", "did you mean metrics?")
  refuses({ "--versoin" }, 64, "'--versoin'", "did you mean --version?")
end)

t.test("a script named without its ending is suggested with it", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/mine.lua", experiment())
  refused(lab.run(dir, { "mine" }), 64, "'mine'", "did you mean ./mine.lua?")
  refused(lab.run(dir, { "check", "./mine" }), 64, "did you mean ./mine.lua?")
end)

t.test("a name that is like nothing leads to the list", function()
  refuses({ "frobnicate" }, 64, "'frobnicate'", "wsb list")
  refuses({ "check", "no/such/file.lua" }, 64, "no/such/file.lua", "wsb list")
  refuses({ "help", "frobnicate" }, 64, "'frobnicate'", "wsb list")
  refuses({ "" }, 64, "''", "wsb list")
  refuses({ "/tmp" }, 64, "'/tmp'")
end)

t.test("a word too many or too few is status 64", function()
  refuses({ "run" }, 64, "no script")
  refuses({ "check" }, 64, "no script")
  refuses({ "check", "serve", "backpressure" }, 64, "'backpressure'")
  refuses({ "list", "all" }, 64, "'all'")
  refuses({ "--version", "please" }, 64, "'please'")
  refuses({ "backpressure", "twice" }, 64, "wsb help backpressure")
  refuses({ "backpressure", "--mark" }, 64, "--mark=VALUE")
  refuses({ "backpressure", "--mark", "--seed", "1" }, 64, "--mark=VALUE")
  refuses({ "backpressure", "--mark", "--seed=1" }, 64, "--mark=VALUE")
end)

t.test("a value that does not parse is named with its option and what is accepted", function()
  refuses({ "backpressure", "--mark", "lots" }, 64, "--mark", "'lots'", "64KiB")
  refuses({ "backpressure", "--mark=-1" }, 64, "--mark", "'-1'", "64KiB")
  refuses({ "backpressure", "--duration", "-2s" }, 64, "--duration", "'-2s'", "250ms")
  refuses({ "backpressure", "--queue", "--shared" }, 64, "--queue", "'--shared'", "shared, copy")
  refuses({ "backpressure", "--mark", "5XiB" }, 64, "--mark", "'5XiB'", "64KiB")
  refuses({ "backpressure", "--duration", "20" }, 64, "--duration", "'20'", "250ms")
  refuses({ "backpressure", "--rate", "10/y" }, 64, "--rate", "'10/y'", "200/s")
  refuses({ "backpressure", "--clients", "1.5" }, 64, "--clients", "'1.5'", "500")
  refuses({ "backpressure", "--clients=" }, 64, "--clients", "''", "500")
  refuses({ "backpressure", "--queue", "both" }, 64, "--queue", "'both'", "shared, copy")
  refuses({ "backpressure", "--repeat", "0" }, 64, "--repeat", "'0'", "1 or more")
  refuses({ "backpressure", "--memory-limit-kind", "hope" }, 64, "--memory-limit-kind", "'hope'", "rlimit")
end)

-- What serve says on stderr when it is started with these flags and ended.
local function serve_says(...)
  local process = lab.start(t.tmpdir(), { "serve", ... })
  process:line "^wsb: serving"
  process:signal "sigterm"
  assert(process:wait(10) and process.code == 0, "its end")
  return process.stderr
end

t.test("a policy for a mark that is not there is warned about, in one line", function()
  local warning = serve_says("--on-overflow", "close")
  assert(warning:find "^wsb: %-%-on%-overflow has no effect [^\n]*%-%-high%-water%-mark[^\n]*\n$", warning)
  assert(serve_says() == "" and serve_says("--on-overflow=close", "--high-water-mark=1MiB") == "")
end)

t.test("a value that only the load can judge ends the run as well", function()
  for flag, wrong in pairs { ["--rate"] = "0/s", ["--duration"] = "0s", ["--size"] = "1" } do
    local dir = t.tmpdir()
    local r = lab.run(dir, { "backpressure", flag, wrong, "--quiet", "--clients", "1", "--stalled", "0" })
    refused(r, flag == "--size" and 64 or 70, flag:sub(3))
    assert(#lab.names(dir) == 0, "a file was left behind")
    lab.nothing_left(r)
  end
end)

t.test("a syntax error is status 70 and names file and line", function()
  refused(run_script "local x = 1\nx = = 2\n", 70, "mine.lua:2:")
  refused(run_script "return {", 70, "mine.lua:1:")
end)

t.test("a run-time error is status 70 with file, line and traceback", function()
  local mistake = "local a\n\na.b = 1"
  local in_setup = experiment():gsub("ctx:serve {}", mistake)
  for line, text in pairs { [3] = mistake, [4] = COMMAND:format(mistake), [6] = in_setup } do
    local r = run_script(text)
    assert(r.code == 70 and r.stdout == "")
    local message = ("wsb: mine.lua:%d: attempt to index a nil value (local 'a')\n"):format(line)
    assert(r.stderr:sub(1, #message) == message, "file and line")
    assert(r.stderr:find("\nstack traceback:\n\tmine.lua:" .. line, 1, true), "traceback")
  end
end)

t.test("what a script's function asks for wrongly is status 70, one line, with file and line", function()
  local function fails(in_setup, in_workload, ...)
    local text = experiment():gsub("ctx:serve {}", in_setup):gsub("ctx:publish {[^}]*}", in_workload)
    refused(run_script(text, "--quiet"), 70, ...)
  end
  local server, load = "mine.lua:4: ctx:serve.hgih_water_mark: ", "mine.lua:5: ctx:clients.faults[1].typ: "
  fails("ctx:serve { hgih_water_mark = 1 }", "", server, "did you mean high_water_mark?")
  fails("ctx:serve {}", 'ctx:clients { cohort = "a", n = 1, faults = { { type = "stall", typ = 1 } } }', load)
  fails("ctx:serve {}", "ctx.server:set { port = 1 }", "mine.lua:5: ctx.server:set.port: ", "high_water_mark")
end)

t.test("an error of several lines is one line", function()
  local r = run_script(COMMAND:format 'error("one\\n  two")')
  assert(r.code == 70)
  assert(r.stderr:find "^wsb: mine%.lua:2: one two\nstack traceback:")
end)

t.test("what a script returns has to be a script", function()
  refused(run_script "return 1", 70, "mine.lua", "number", "table")
  refused(run_script "", 70, "mine.lua", "nil", "table")
  refused(run_script "return {}", 70, "name", "missing")
  refused(run_script 'return { name = "a", description = "b", run = 1 }', 70, "run", "'1'", "function")
  refused(run_script 'return { name = "a", description = "b", runn = print }', 70, "runn", "no such field")
  refused(run_script 'return { name = "../a", description = "b", run = print }', 70, "name", "'../a'")
end)

-- An experiment with one thing wrong.
local function malformed(server, second_arm, more, ...)
  refused(run_script(experiment(server, second_arm, more)), 70, "mine.lua: ", ...)
end

t.test("a malformed experiment is refused before anything starts, and the field is named", function()
  malformed("high_watermark = 1", "after", "", "arms[1].server.high_watermark", "mean high_water_mark?")
  malformed('high_water_mark = "1XB"', "after", "", "arms[1].server.high_water_mark", "'1XB'", "64KiB")
  malformed('high_water_mark = "$mrak"', "after", "", "arms[1].server.high_water_mark", "$mrak")
  malformed("", "before", "", "arms[2].name", "'before'")
  malformed("", "../after", "", "arms[2].name", "'../after'")
  malformed("", "after", "thresholds = { aftr = {} }", "thresholds.aftr", "did you mean after?")
  malformed("", "after", 'thresholds = { after = { rss = { "max<1Mo" } } }', "after.rss[1]", "'1Mo'")
  malformed("", "after", 'thresholds = { after = { rs = { "max<1MiB" } } }', "did you mean rss?")
  malformed("", "after", 'thresholds = { after = { expect = "live" } }', "thresholds.after.expect", "'live'")
  malformed("", "after", "thresholds = {}", "thresholds.after", "missing")
  malformed("", "after", 'compare = { "rss.maximum" }', "compare[1]", "max")
  malformed("", "after", 'options = { mark = { "m", "x", type = "size" } }', "options.mark", "'x'")
  malformed("", "after", 'options = { seed = { "my own", 1 } }', "options.seed", "--seed")
  malformed("", "after", "wrkload = print", "wrkload", "did you mean workload?")
  malformed("", "after", "rollbacks = { print }", "rollbacks[1]", "function(ctx)")
end)
