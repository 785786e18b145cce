-- Servers joined by a Redis, small: what the scripts prove, and that they find what they look for.
-- Runs alone.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local EXITS = { PROVEN = 0, REFUTED = 1, INCONCLUSIVE = 2 }

io.write "# timeout 120\n"

local function run(dir, name, ...)
  if not os.execute "command -v redis-server >/dev/null" then t.skip "redis-server is not installed" end
  local r = lab.run(dir, { name, "--quiet", ... })
  lab.nothing_left(r)
  return r
end

local function fanout(dir, ...)
  return run(dir, "fanout", "--clients", "5", "--rate", "50/s", "--duration", "1s", "--within", "5s", ...)
end

-- A busy machine may be late with a message or two, which voids the verdict and none of the figures.
local function proven(dir, r, servers)
  local late = r.code == EXITS.INCONCLUSIVE and r.stdout:find "the generator was late"
  assert(late or r.stdout:find("\nPROVEN  Joined by a Redis, " .. servers), r.stdout)
  local alone, joined = table.unpack(lab.result(dir, "fanout").arms)
  alone, joined = alone.runs[1], joined.runs[1]
  assert(alone.metrics["delivered{cohort:other}.ratio"] == 0, "a server alone reaches its own only")
  assert(alone.metrics["delivered{cohort:same}.ratio"] == 1)
  for _, cohort in ipairs { "same", "other", "same-back", "other-back" } do
    assert(joined.metrics[("delivered{cohort:%s}.ratio"):format(cohort)] == 1, cohort)
  end
  local counts = joined.counts.server
  assert(counts.relay_published == 2 * 50, "both publishers' messages went out once")
  assert(counts.relay_received == 2 * 50 * (servers - 1), "and came to every other server")
  assert(alone.counts.server.relay_published == 0)
end

t.test("two servers are one through a Redis", function()
  local dir = t.tmpdir()
  proven(dir, fanout(dir), 2)
end)

t.test("three are through the sharded channels of a cluster", function()
  local dir = t.tmpdir()
  proven(dir, fanout(dir, "--cluster", "3", "--sharded", "--servers", "3"), 3)
end)

t.test("somebody's Redis is used and left as it is", function()
  local dir = t.tmpdir()
  if not os.execute "command -v redis-server >/dev/null" then t.skip "redis-server is not installed" end
  local socket = uv.new_tcp()
  socket:bind("127.0.0.1", 0)
  local port = socket:getsockname().port
  socket:close()
  local theirs = t.start { "redis-server", "--port", tostring(port), "--save", "", "--bind", "127.0.0.1" }
  theirs:line("Ready to accept connections", 20)
  proven(dir, fanout(dir, "--redis", "redis://127.0.0.1:" .. port), 2)
  assert(not theirs.code, "it was ended")
end)

-- What came of the rows that were asked, by name.
local function rows_of(dir)
  local rows = {}
  for _, row in ipairs(lab.result(dir, "fanout-failure").rows) do
    if row.verdict ~= "n/a" then rows[row.name] = row end
  end
  return rows
end

t.test("what a broken link loses is told, and with a history nothing is", function()
  local dir = t.tmpdir()
  local r = run(dir, "fanout_failure", "--clients", "3", "--outage", "500ms", "--only",
    "Redis killed,output buffer,subscriber link")
  assert(r.code == 0, r.stdout)
  local rows = rows_of(dir)
  -- A link that was only cut may be back before anything is lost.
  local rows_asked = { ["Redis killed, and back"] = 1, ["output buffer"] = 1, ["subscriber link"] = 0 }
  for name, least in pairs(rows_asked) do
    local lost = rows[name].came:match "(%d+) of %d+ lost and told$"
    assert(lost and tonumber(lost) >= least, ("%s: %s"):format(name, rows[name].came))
  end
  for _, name in ipairs { "history: output buffer", "history: subscriber link" } do
    assert(rows[name].came:find "^none of %d+ lost at either$", rows[name].came)
  end
  assert(rows["history: Redis killed, and back"].came:find "all clients told$")
end)

t.test("a row fails when a message is lost and not filled", function()
  local dir = t.tmpdir()
  local script = assert(lab.read "scripts/fanout_failure.lua")
  lab.write(dir .. "/bad.lua", (script:gsub("how%.history and HISTORY or 0", "0")))
  local r = run(dir, "bad.lua", "--clients", "3", "--only", "history: output buffer")
  assert(r.code == 1 and r.stdout:find "\nFAILED  0 held, 1 failed", r.stdout)
  assert(rows_of(dir)["history: output buffer"].came:find "^0 lost locally, [1-9]%d* at the other, [1-9]")
end)

t.test("a server dies: its clients come back, with a history to all that they missed", function()
  local dir = t.tmpdir()
  local r = run(dir, "fanout_failure", "--clients", "3", "--outage", "500ms", "--only", "a server killed")
  assert(r.code == 0, r.stdout)
  local rows = rows_of(dir)
  local missed = rows["a server killed"].came:match "missed (%d+)$"
  assert(missed and tonumber(missed) > 0, rows["a server killed"].came)
  assert(rows["history: a server killed"].came:find "^none of %d+ lost at either$")
end)

t.test("memory stays bounded while Redis stands still", function()
  local dir = t.tmpdir()
  local r = run(dir, "fanout_failure", "--clients", "2", "--away", "8s", "--only", "away at")
  assert(r.code == 0 and rows_of(dir)["away at the full rate"].came:find "^memory grew by", r.stdout)
end)

t.test("the sweeps measure every point", function()
  local dir = t.tmpdir()
  local r = run(dir, "fanout_scale", "--servers", "1,2", "--clients", "5", "--duration", "500ms")
  local result = lab.result(dir, "fanout-scale")
  assert(r.code == EXITS[result.verdict.word], result.verdict.word)
  for i, row in ipairs(result.arms[1].runs) do
    assert(row.values.subscribers == 5 * i and row.values.delivered == 1)
    assert((row.values.cost or 1) > 0 and row.values.lag > 0)
  end
  r = run(dir, "fanout_saturation", "--rates", "300,600", "--duration", "500ms", "--grace", "500ms")
  result = lab.result(dir, "fanout-saturation")
  assert(r.code == EXITS[result.verdict.word], result.verdict.word)
  for _, arm in ipairs(result.arms) do
    for _, row in ipairs(arm.runs) do
      assert(row.values.delivered > 0.99 and row.values.missed == 0, arm.name)
    end
  end
end)

t.test("what is wrong is named", function()
  local r = run(t.tmpdir(), "fanout", "--cluster", "2")
  assert(r.code == 64 and r.stderr:find("--cluster: '2' is not accepted: give 3 or more", 1, true), r.stderr)
  r = run(t.tmpdir(), "fanout", "--servers", "1")
  assert(r.code == 64 and r.stderr:find("--servers: '1' is not accepted", 1, true), r.stderr)
end)
