-- The reconnect storm and the rolling restart, small: what they prove, how the counters agree with others'
-- count, and what they say when something is wrong. Runs alone.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local TOY = uv.fs_realpath "tests/peers" .. "/toy.js"

-- 80 look-ups a second: the herd alone is nearly four seconds of work, and no client waits longer than one.
local SMALL = { "--clients", "300", "--auth-slots", "4", "--backlog", "200", "--connect-timeout", "1s",
  "--retry", "500ms", "--within", "12s", "--quiet" }

local function storm(dir, ...)
  local words = { "reconnect_storm" }
  for _, list in ipairs { SMALL, { ... } } do
    table.move(list, 1, #list, #words + 1, words)
  end
  return lab.run(dir, words)
end

local function need(program, package)
  local there = os.execute(("command -v %s >/dev/null"):format(program))
  if not there then t.skip(package .. " is not installed") end
end

local function run_of(result, arm)
  for _, one in ipairs(result.arms) do
    if one.name == arm then return one.runs[1] end
  end
  error("no arm " .. arm)
end

io.write "# timeout 240\n"

t.test("in step it stalls, in a window of the right size it does not", function()
  local dir = t.tmpdir()
  local r = storm(dir, "--arms", "sized-window")
  assert(r.code == 0, ("code %d\n%s"):format(r.code, r.stdout))
  assert(r.stdout:find "\nPROVEN  300 clients that come back at random")
  local result = lab.result(dir, "reconnect-storm")
  local stalled, sized = run_of(result, "synchronized"), run_of(result, "sized-window")
  assert(stalled.outcome.kind == "stalled" and stalled.outcome.text:find "^did not recover within")
  assert(sized.outcome.text:find "^recovered in")
  assert(stalled.metrics.accept_overflows > 0 and sized.metrics.accept_overflows == 0)
  assert(stalled.metrics["auth_wasted{since:fault}"] > 100 and sized.metrics["auth_wasted{since:fault}"] == 0)
  assert(sized.metrics["clients_started{cohort:herd,since:fault}.each"] < 3)
  assert(#stalled.series["syns.rate"] == #stalled.series.t, "a point every interval")
  assert(stalled.network.kind and stalled.network.sysctls.tcp_abort_on_overflow == "0")
  lab.nothing_left(r)
end)

-- Prints the kernel's figures as wsb counts them and as others read them, in the network of the run.
local COUNTED = [[
local function word(command, pattern)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return tonumber(text:match(pattern))
end

local function nstat(name)
  return word("nstat -asz " .. name, name .. "%s+(%d+)")
end

return {
  name = "counted", description = "Counts twice.",
  arms = { { name = "a", server = { backlog = 20 } }, { name = "b", server = { backlog = 21 } } },
  network = { somaxconn = 4096, tcp_syncookies = 0 },
  setup = function(ctx) ctx:serve { auth_time = "20ms", auth_slots = 2, auth_queue = 0 } end,
  workload = function(ctx)
    ctx:start()
    local herd
    ctx:fault("a burst", function()
      herd = ctx:clients { cohort = "herd", n = 300, connect_rate = "1M/s", connect_timeout = "1s",
        reconnect = "fixed", reconnect_base = "100ms", reconnect_attempts = 2 }
    end)
    ctx:wait(function() return herd:counts().clients_waiting == 0 end, "10s")
    local queued = word("ss -Hlnt", "LISTEN%s+(%d+)")
    local now = require "wsb.measure.count".network()
    print("syns", now.syns, nstat "TcpActiveOpens" + nstat "TcpExtTCPSynRetrans")
    print("overflows", now.accept_overflows, nstat "TcpExtListenOverflows")
    print("accepts", now.kernel_accepts, nstat "TcpPassiveOpens")
    ctx:wait(function() return ctx.server:counts().accept_queue == 0 end, "10s")
    print("queue", queued >= 0, word("ss -Hlnt", "LISTEN%s+(%d+)"))
    print("limit", ctx.server:counts().accept_queue_limit, word("ss -Hlnt", "LISTEN%s+%d+%s+(%d+)"))
  end,
  thresholds = { a = { expect = "any" }, b = { expect = "any" } },
  compare = { "syns", "accept_overflows" },
}
]]

t.test("the kernel's counters are what nstat and ss say", function()
  need("nstat", "iproute2")
  local dir = t.tmpdir()
  lab.write(dir .. "/counted.lua", COUNTED)
  local r = lab.run(dir, { "counted.lua", "--quiet", "--network", "private" })
  if r.code == 69 then t.skip "no network of its own can be had" end
  local counted = 0
  for name, ours, theirs in r.stdout:gmatch "(%l+)\t(%d+)\t(%d+)\n" do
    assert(ours == theirs, ("%s: %s, not %s"):format(name, theirs, ours))
    assert(tonumber(ours) > 0, name)
    counted = counted + 1
  end
  assert(counted == 8, r.stdout .. r.stderr)
  assert(r.stdout:find "queue\ttrue\t0\n", "the queue is empty again")
end)

t.test("a drain onto a successor is a glide", function()
  local dir = t.tmpdir()
  local r = lab.run(dir, { "drain", "--clients", "300", "--window", "3s", "--peak", "250", "--quiet" })
  assert(r.code == 0, ("code %d\n%s"):format(r.code, r.stdout))
  local result = lab.result(dir, "drain")
  local cliff, glide = run_of(result, "cliff"), run_of(result, "glide")
  assert(cliff.metrics["closes{code:1006,cohort:subscribers}.seen"] == 300)
  assert(glide.metrics["closes{code:1012,cohort:subscribers}.seen"] == 300)
  assert(glide.metrics["clients_refused{cohort:subscribers,since:fault}"] == 0)
  lab.nothing_left(r)
end)

t.test("a cut network comes back, with clients that nobody told", function()
  need("nft", "nftables")
  local dir = t.tmpdir()
  local r = storm(dir, "--trigger", "cut", "--arms", "sized-window", "--clients", "100", "--network",
    "private")
  if r.code == 69 then t.skip "no network of its own can be had" end
  local sized = run_of(lab.result(dir, "reconnect-storm"), "sized-window")
  assert(sized.outcome.text:find "^recovered in", sized.outcome.text)
  assert(sized.metrics["clients_started{cohort:herd,since:fault}.each"] >= 1)
  lab.nothing_left(r)
end)

t.test("a policy may be a function of the script", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/mine.lua", [[
    local asked = {}
    return {
      name = "mine", description = "Asks a function.",
      arms = { { name = "never", clients = { reconnect = function() return nil end } },
        { name = "asked", clients = { reconnect = function(attempt, previous, code)
          asked[("%d %g %d"):format(attempt, previous, code)] = true
          return attempt * 0.25
        end } } },
      setup = function(ctx) ctx:serve {} end,
      workload = function(ctx)
        local some = ctx:clients { cohort = "some", n = 20 }
        ctx:fault("down", function() ctx.server:kill() ctx:sleep "400ms" ctx.server:restart() end)
        local function over() return some:counts().clients_given_up == 20 end
        if ctx.arm == "never" then ctx:wait(over, "5s") end
        if ctx.arm == "asked" then ctx:await_open(some, 1, "10s") ctx:sleep "200ms" end
        for facts in pairs(asked) do print(facts) end
      end,
      thresholds = { never = { ["clients_open{cohort:some}"] = { "last==20" } },
        asked = { ["clients_open{cohort:some}"] = { "last==20" } } },
      compare = { "clients_given_up{cohort:some}" },
    }
  ]])
  local r = lab.run(dir, { "mine.lua", "--quiet" })
  assert(r.code == 0, r.stdout .. r.stderr)
  assert(r.stdout:find("1 0 1006\n", 1, true) and r.stdout:find("2 0.25 1006\n", 1, true), r.stdout)
end)

t.test("somebody else's server has a herd too", function()
  need("node", "nodejs")
  if not uv.fs_stat "tests/peers/node_modules/ws" then t.skip "npm could not fetch ws" end
  local dir = t.tmpdir()
  local r = lab.run(dir, { "reconnect_storm", "--quiet", "--clients", "100", "--within", "15s", "--arms",
    "sized-window", "--command", "PORT=3977 node " .. TOY, "--ready", "3977" })
  assert(r.code == 0, r.stdout .. r.stderr)
  local result = lab.result(dir, "reconnect-storm")
  assert(result.verdict.word == "HELD" and #result.arms == 2)
  assert(run_of(result, "synchronized").metrics["clients_started{cohort:herd,since:fault}.each"] > 1)
  lab.nothing_left(r)
end)

t.test("what is wrong is named", function()
  local dir = t.tmpdir()
  local r = storm(dir, "--arms", "sized-widow")
  assert(r.code == 64 and r.stderr:find("'sized-widow' is no arm: did you mean sized-window?", 1, true))
  lab.write(dir .. "/bad.lua", "return { name = 'bad', description = 'Bad.', arms = { { name = 'a' }, "
    .. "{ name = 'b' } }, network = { somaxcon = 1 }, setup = function(ctx) ctx:serve {} end, "
    .. "workload = function() end, thresholds = { b = { expect = 'any' } } }")
  r = lab.run(dir, { "bad.lua" })
  assert(r.code == 70 and r.stderr:find("'somaxcon'", 1, true), r.stderr)
  assert(r.stderr:find("somaxconn", 1, true), r.stderr)
  assert(not uv.fs_stat(dir .. "/runs/bad"), "a report was left")
end)
