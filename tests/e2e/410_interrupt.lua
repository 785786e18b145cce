-- Runs that do not come to their end: whatever happens, rollbacks have run and nothing is left.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local CODES = { sigint = 130, sigterm = 143 }
local INCONCLUSIVE, SCRIPT_ERROR = 2, 70

-- Nobody stalls, so that no arm takes longer than its load.
local function start(dir, flags)
  local words = { "backpressure", "--clients=10", "--stalled=0", "--duration=1s" }
  return lab.start(dir, table.move(flags or {}, 1, #(flags or {}), #words + 1, words))
end

local function interrupted(process, signal)
  assert(process:wait(15), "it went on")
  assert(process.code == CODES[signal], ("code %d"):format(process.code))
  assert(process.stdout == "", "a result")
  assert(process.stderr:find("wsb: interrupted by signal %d+[^\n]*no report was written\n$"),
    "it does not say so")
end

-- Moments, by the line of progress at which they come.
local MOMENTS = {
  { "while the first server is probed", "^before  checking" },
  { "while clients connect", "^before  connecting 2000 clients", { "--clients=2000" } },
  { "under load", "^before  0%.0 s" },
  { "between the arms", "^before  alive" },
  { "while the second server is probed", "^after  checking" },
}

for _, moment in ipairs(MOMENTS) do
  for _, signal in ipairs { "sigint", "sigterm" } do
    t.test(("%s %s leaves nothing"):format(signal:upper(), moment[1]), function()
      local dir = t.tmpdir()
      local process = start(dir, moment[3])
      process:line(moment[2], 20)
      process:signal(signal)
      interrupted(process, signal)
      lab.nothing_left(process)
      assert(#lab.names(dir) == 0, "a file was left behind")
    end)
  end
end

t.test("SIGINT in the first moments leaves nothing", function()
  for _, delay in ipairs { 2, 10, 20, 40 } do
    local dir = t.tmpdir()
    local process = start(dir)
    uv.sleep(delay)
    process:signal "sigint"
    assert(process:wait(15) and process.code == CODES.sigint, "its end")
    lab.nothing_left(process)
    assert(#lab.names(dir) == 0, "a file was left behind")
  end
end)

t.test("SIGINT while the report is written leaves all of it or nothing", function()
  for _, delay in ipairs { 0, 20, 100 } do
    local dir = t.tmpdir()
    local process = start(dir)
    process:line("^after  alive", 30)
    uv.sleep(delay)
    process:signal "sigint"
    assert(process:wait(15), "it went on")
    lab.nothing_left(process)
    if process.code == CODES.sigint then
      assert(#lab.names(dir) == 0, "a file was left behind")
    else
      assert(process.code == INCONCLUSIVE, ("code %d"):format(process.code))
      assert(#lab.names(dir .. "/runs/backpressure") == 2)
      assert(lab.result(dir).verdict.word == "INCONCLUSIVE")
    end
  end
end)

t.test("a second ^C does not cut the clean-up short", function()
  local dir = t.tmpdir()
  local process = start(dir)
  process:line("^before  0%.0 s", 20)
  for _ = 1, 5 do
    process:signal "sigint"
    uv.sleep(2)
  end
  interrupted(process, "sigint")
  lab.nothing_left(process)
  assert(#lab.names(dir) == 0, "a file was left behind")
end)

local function killed_under_load()
  local process = start(t.tmpdir(), { "--duration=20s" })
  process:line("^before  0%.0 s", 20)
  assert(#lab.living(process) == 4, "itself, a server, a cohort and a publisher")
  process:signal "sigkill"
  assert(process:wait(5) and process.killed_by == 9)
  t.wait_until(function() return #lab.living(process) == 0 end, 5, "its workers to end")
  return process
end

t.test("a controller that is killed takes its workers with it", killed_under_load)

t.test("the cgroup of a controller that was killed is removed by the next one", function()
  lab.need_cgroup()
  local process = killed_under_load()
  assert(lab.cgroups(process) ~= "", "it had none")
  lab.run(t.tmpdir(), { "doctor" })
  lab.nothing_left(process)
end)

t.test("a server that somebody else kills was not killed by its limit", function()
  local dir = t.tmpdir()
  local process = start(dir, { "--duration=2s" })
  process:line("^before  0%.0 s", 20)
  local server = lab.workers(process, "server")
  assert(#server == 1, "one server")
  uv.kill(server[1], "sigkill")
  assert(process:wait(30) and process.code == INCONCLUSIVE, "not INCONCLUSIVE")
  assert(process.stdout:find "ended for another reason: ended by signal 9", "it does not say why")
  assert(not process.stdout:find "killed at", "it says that the limit killed it")
  local row = lab.result(dir).arms[1].runs[1]
  assert(row.outcome.kind == "exited", row.outcome.kind)
  lab.nothing_left(process)
end)

local ROLLBACKS = [[
local function note(what)
  local file = io.open("rolled-back", "a")
  file:write(what, "\n")
  file:close()
end

return {
  name = "mine", description = "a test's own",
  options = { fail = { "raise an error in the workload", false } },
  arms = { { name = "before" }, { name = "after" } },
  thresholds = { after = { rss = { "max<512MiB" } } },
  setup = function(ctx) ctx:serve { memory_limit = "512MiB" } end,
  workload = function(ctx)
    ctx:clients { cohort = "all", n = 2 }
    if ctx.opt.fail then error "on purpose" end
    ctx:publish { rate = "20/s", duration = "1s" }
  end,
  rollbacks = {
    { "the first", function(ctx) ctx:sleep "50ms" note(ctx.arm .. " first") end },
    { "the second", function() error "cannot be undone" end },
    { "the third", function(ctx) note(ctx.arm .. " third") end },
  },
}
]]

-- Starts that script; `rolled` reads what its rollbacks wrote.
local function start_script(...)
  local dir = t.tmpdir()
  lab.write(dir .. "/mine.lua", ROLLBACKS)
  local function rolled() return lab.read(dir .. "/rolled-back") end
  return lab.start(dir, { "mine.lua", ... }), rolled, dir
end

t.test("rollbacks run after each arm, all of them, and one that fails is reported", function()
  local process, rolled = start_script()
  assert(process:wait(30) and process.code == INCONCLUSIVE, "its end")
  assert(rolled() == "before first\nbefore third\nafter first\nafter third\n", rolled())
  local _, failures = process.stderr:gsub("rollback 'the second' failed: [^\n]*cannot be undone", "")
  assert(failures == 2, "the failures")
end)

t.test("rollbacks run on an error", function()
  local process, rolled, dir = start_script "--fail"
  assert(process:wait(30) and process.code == SCRIPT_ERROR, "its end")
  assert(process.stderr:find "mine%.lua:%d+: on purpose\nstack traceback:")
  assert(rolled() == "before first\nbefore third\n", rolled())
  lab.nothing_left(process)
  assert(#lab.names(dir) == 2, "a file was left behind")
end)

for signal, code in pairs(CODES) do
  t.test("rollbacks run on " .. signal:upper(), function()
    local process, rolled, dir = start_script()
    process:line("^before  0%.0 s", 20)
    process:signal(signal)
    assert(process:wait(15) and process.code == code, "its end")
    assert(rolled() == "before first\nbefore third\n", rolled())
    lab.nothing_left(process)
    assert(#lab.names(dir) == 2, "a file was left behind")
  end)
end
