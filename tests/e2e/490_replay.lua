-- The replay, small: clean it is proven, and each fault that is put into it on purpose is found and named.
-- Runs alone.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

io.write "# timeout 240\n"

local SMALL = { "replay", "--quiet", "--duration", "7s", "--clients", "40", "--slow", "10", "--away", "4",
  "--away-for", "2s", "--kill-rate", "60", "--patience", "10s" }

local function replay(dir, ...)
  if not os.execute "command -v redis-server >/dev/null" then t.skip "redis-server is not installed" end
  local words = table.move(SMALL, 1, #SMALL, 1, {})
  return lab.run(dir, table.move({ ... }, 1, select("#", ...), #words + 1, words))
end

local function run_of(result, arm)
  for _, one in ipairs(result.arms) do
    if one.name == arm then return one.runs[1] end
  end
  error("no arm " .. arm)
end

local function figure(run, name)
  return run.metrics[("recorded{name:%s}"):format(name)]
end

t.test("what was acknowledged comes, once and in order, whatever is cut", function()
  local dir = t.tmpdir()
  local r = replay(dir)
  assert(r.code == 0, ("code %d\n%s%s"):format(r.code, r.stdout, r.stderr))
  assert(r.stdout:find "\nPROVEN  With ids, a history of 250 messages", r.stdout)
  local result = lab.result(dir, "replay")
  local without, with = run_of(result, "without"), run_of(result, "replay")
  assert(figure(without, "lost") > 100 and figure(with, "lost") == 0)
  assert(figure(with, "replayed") > 100 and figure(with, "kills") > 200)
  assert(with.metrics.messages_deduplicated > 0 and with.metrics.recoveries_refused > 0)
  assert(figure(with, "owed") > 5000, "much was owed")
  lab.nothing_left(r)
end)

-- The classes that did not hold, by name.
local function found(result)
  local classes = {}
  for _, threshold in ipairs(run_of(result, "replay").thresholds) do
    if threshold.held == false then classes[threshold.metric:match "name:(%l+)"] = true end
  end
  return classes
end

local BUGS = { { "listener-race", "lost" }, { "trim-off-by-one", "lost" }, { "no-dedup", "twice" } }

for _, pair in ipairs(BUGS) do
  local bug, class = pair[1], pair[2]
  t.test(bug .. " is found", function()
    local dir = t.tmpdir()
    -- With a short history the place of many is just gone.
    local r = replay(dir, "--seeded-bug", bug, "--history", "25", "--slow", bug == "no-dedup" and "10" or "0")
    assert(r.code == 1, ("code %d\n%s%s"):format(r.code, r.stdout, r.stderr))
    assert(r.stdout:find "\nREFUTED", r.stdout)
    local result, path = lab.result(dir, "replay")
    assert(found(result)[class], "it was not called " .. class)
    local words = class == "lost" and "lost: %S+ never got %x+:%d+" or "twice: %S+ got %x+:%d+"
    assert(r.stdout:find(words), r.stdout)
    assert(lab.read(path .. "/replay-1/violations.log"):find(words), "the words are not kept")
    assert(uv.fs_stat(path .. "/replay-1/herd-history.log"), "the record is not kept")
    lab.nothing_left(r)
  end)
end
