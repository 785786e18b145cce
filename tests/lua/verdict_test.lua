local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local outcome = require "wsb.measure.outcome"
local verdict = require "wsb.judge.verdict"

local function run(index, change)
  local r = { index = index, doubts = {}, outcome = { kind = "alive", text = "alive" },
    thresholds = { { metric = "server_memory", expression = "max<64MiB", value = 1, held = true } },
    fingerprint = { publish_offered = 2000, publish_bytes = 8192000, schedule_hash = "abc", clients = 250,
      lateness_p99_s = 0.001 } }
  if change then change(r) end
  return r
end

local function killed(r) r.outcome = { kind = "killed", text = "killed at 256 MiB after 9.1 s" } end
local function over(r) r.thresholds[1].held = false end

local function arms(before, after, times)
  local base = { name = "before", role = "base", expect = "fail", runs = {} }
  local treatment = { name = "after", role = "treatment", expect = "pass", runs = {} }
  for i = 1, times or 1 do
    base.runs[i], treatment.runs[i] = run(i, before), run(i, after)
  end
  return { base, treatment }
end

local function decide(...)
  return verdict.decide(arms(...), 0.05)
end

t.test("killed before, passed after: proven", function()
  local v = decide(killed, nil)
  assert.equal("PROVEN", v.word)
  assert.same({ "before failed: killed at 256 MiB after 9.1 s", "after held" }, v.reasons)
end)

t.test("a threshold that did not hold is a failure of the base too", function()
  assert.equal("PROVEN", decide(over, nil).word)
end)

t.test("treatment fails a threshold: refuted", function()
  local v = decide(killed, over)
  assert.equal("REFUTED", v.word)
  assert.equal("after failed: server_memory max<64MiB did not hold", v.reasons[2])
end)

t.test("treatment killed, although its thresholds held: refuted", function()
  assert.equal("REFUTED", decide(killed, killed).word)
end)

t.test("the base did not fail: inconclusive, whatever the treatment did", function()
  assert.equal("INCONCLUSIVE", decide(nil, nil).word)
  assert.equal("INCONCLUSIVE", decide(nil, over).word)
  assert.equal("before did not fail: nothing to fix was shown", decide(nil, nil).reasons[1])
end)

t.test("every run of the base has to fail", function()
  local list = arms(killed, nil, 5)
  list[1].runs[3] = run(3)
  local v = verdict.decide(list, 0.05)
  assert.equal("INCONCLUSIVE", v.word)
  assert.equal("before did not fail in 1 of 5 runs: nothing to fix was shown", v.reasons[1])
end)

t.test("one failed run of the treatment refutes", function()
  local list = arms(killed, nil, 5)
  list[2].runs[4] = run(4, over)
  local v = verdict.decide(list, 0.05)
  assert.equal("REFUTED", v.word)
  assert.equal("after failed in 1 of 5 runs: server_memory max<64MiB did not hold", v.reasons[2])
end)

local function doubted(change, reason, only_after)
  local v = decide(function(r)
    killed(r)
    if not only_after then change(r) end
  end, function(r)
    if only_after then change(r) end
  end)
  assert.equal("INCONCLUSIVE", v.word)
  assert.equal(reason, v.reasons[1])
end

t.test("a missing metric is a doubt, not a failure", function()
  doubted(function(r)
    r.thresholds[1].held, r.thresholds[1].why = nil, "no sample of it"
  end, "after, run 1: server_memory max<64MiB: no value (no sample of it)", true)
end)

t.test("a late generator is a doubt; on the bound it is not", function()
  doubted(function(r) r.fingerprint.lateness_p99_s = 0.051 end,
    "before, run 1: the generator was late: p99 51.0 ms, allowed 50.0 ms")
  assert.equal("PROVEN", decide(killed, function(r) r.fingerprint.lateness_p99_s = 0.05 end).word)
end)

t.test("a load that differs is a doubt, field by field", function()
  for _, field in ipairs { "publish_offered", "publish_bytes", "schedule_hash", "clients" } do
    local v = decide(killed, function(r) r.fingerprint[field] = "other" end)
    assert.equal("INCONCLUSIVE", v.word)
    assert.truthy(v.reasons[1]:find("^run 1: the load differed"))
  end
end)

t.test("a server that ended for another reason is a doubt that quotes it", function()
  doubted(function(r) r.outcome = { kind = "exited", text = "ended by signal 11" } end,
    "before, run 1: the server ended for another reason: ended by signal 11")
end)

t.test("what a run doubted itself is a doubt", function()
  doubted(function(r) r.doubts = { "the steady state was not met: x" } end,
    "before, run 1: the steady state was not met: x")
end)

t.test("no run at all is inconclusive", function()
  assert.equal("INCONCLUSIVE", verdict.decide(arms(killed, nil, 0), 0.05).word)
end)

local function ended(change)
  local e = { exit = { signal = 9 }, asked = false, at_s = 9.1, refused_bytes = 0, limit_kind = "cgroup v1",
    limit_bytes = 268435456, last_words = "", charged = { oom_kills = 1, peak = 268435456, hits = 40 } }
  for key, value in pairs(change) do
    e[key] = value
  end
  return outcome.of(e)
end

t.test("SIGKILL and the kernel's count risen: killed by the limit", function()
  local o = ended {}
  assert.equal("killed", o.kind)
  assert.equal("killed at 256 MiB after 9.1 s", o.text)
  assert.equal("exit signal 9, oom_kill 1, at most 256 MiB charged, 40 times at the limit", o.evidence)
end)

t.test("SIGKILL alone proves nothing", function()
  assert.equal("exited", ended { charged = { oom_kills = 0, peak = 268435456, hits = 40 } }.kind)
  assert.equal("exited", ended { charged = false, limit_kind = "RLIMIT_DATA" }.kind)
end)

-- A server that is not wsb's.

local function of_one(change)
  local arm = { name = "yours", role = "treatment", expect = "pass", runs = { run(1, change) } }
  return verdict.of_one({ arm }, 0.05)
end

local function unmeasured(r)
  table.insert(r.thresholds, { metric = "slow_clients", expression = "last<1", why = "it tells nobody" })
end

t.test("somebody else's server holds what was measured, and what was not is said", function()
  local v = of_one(unmeasured)
  assert.equal("HELD", v.word)
  assert.same({ "yours, run 1: slow_clients last<1 was not measured: it tells nobody" }, v.reasons)
end)

t.test("it has failed by a threshold, or by any end", function()
  assert.same({ "yours, run 1: server_memory max<64MiB did not hold" }, of_one(over).reasons)
  local v = of_one(function(r) r.outcome = { kind = "exited", text = "exited with 1 after 2.0 s" } end)
  assert.equal("FAILED", v.word)
  assert.same({ "yours, run 1: exited with 1 after 2.0 s" }, v.reasons)
end)

t.test("nothing that could be judged, or a doubt, decides nothing", function()
  assert.equal("INCONCLUSIVE", of_one(function(r) r.thresholds[1].held = nil end).word)
  assert.equal("INCONCLUSIVE", of_one(function(r) r.doubts[1] = "a probe failed" end).word)
  assert.equal("INCONCLUSIVE", of_one(function(r)
    over(r)
    r.fingerprint.lateness_p99_s = 0.2
  end).word)
end)

t.test("an abort is of memory only with a refused allocation under RLIMIT_DATA", function()
  local abort = { exit = { signal = 6 }, charged = false, limit_kind = "RLIMIT_DATA", refused_bytes = 4096 }
  local o = ended(abort)
  assert.equal("aborted", o.kind)
  assert.equal("allocation refused at its RLIMIT_DATA of 256 MiB after 9.1 s", o.text)
  abort.refused_bytes = 0
  assert.equal("exited", ended(abort).kind)
end)

t.test("another end quotes the log", function()
  local o = ended { exit = { code = 3 }, last_words = "assertion failed" }
  assert.equal("exited with 3 after 9.1 s, last log line: assertion failed", o.text)
end)

t.test("alive says whether memory was flat, and else by how much it varied", function()
  assert.equal("alive, memory flat", ended { exit = false, flatness = 0.02 }.text)
  assert.equal("alive, memory varied by 20.6 %", ended { exit = false, flatness = 0.206 }.text)
  assert.equal("alive", ended { exit = false }.text)
end)

t.test("an end that was asked for is not a death", function()
  assert.equal("alive", ended { exit = { code = 0 }, asked = "stop" }.kind)
end)
