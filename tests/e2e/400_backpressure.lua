-- The first experiment, small: each verdict it can come to, and the evidence it leaves. Runs alone.

local cjson = require "cjson"
local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local HEALTHY, STALLED = 20, 80
local PROVEN, REFUTED, INCONCLUSIVE = 0, 1, 2

local function run(dir, code, flags, prefix)
  local r = lab.run(dir, lab.backpressure(flags), prefix)
  assert(r.code == code, ("code %d"):format(r.code))
  assert(r.stderr == "", "quiet, and yet something on stderr")
  lab.nothing_left(r)
  return r
end

local function arm(result, name)
  for _, each in ipairs(result.arms) do
    if each.name == name then return each end
  end
  error("no arm " .. name, 2)
end

local function closed_with(row, code)
  for _, close in ipairs(row.closes) do
    if close.code == code then return close end
  end
  return { sent = 0, seen = 0 }
end

-- What the arm with the mark has to look like, whatever kills the other.
local function assert_held(row)
  assert(row.outcome.kind == "alive", row.outcome.text)
  assert(row.metrics.evictions_mark == STALLED, "each stalled client is evicted")
  assert(closed_with(row, 1013).sent == STALLED, "and the code is recorded")
  assert(row.metrics["slow_clients.last"] == 0)
  assert(row.metrics["delivered{cohort:healthy}.ratio"] == 1)
  for _, threshold in ipairs(row.thresholds) do
    assert(threshold.held, threshold.metric)
  end
end

local function has_line(text, pattern)
  assert(("\n" .. text):find("\n" .. pattern), ("no line '%s'"):format(pattern))
end

t.test("without readers that stall it is INCONCLUSIVE, status 2, and says why", function()
  local dir = t.tmpdir()
  local r = run(dir, INCONCLUSIVE, { stalled = "0" })
  has_line(r.stdout, "INCONCLUSIVE  Nothing was shown%. The claim was: ")
  has_line(r.stdout, "%- before did not fail")
  local result = lab.result(dir)
  assert(arm(result, "before").runs[1].outcome.kind == "alive")
end)

t.test("with a mark too high to help it is REFUTED, status 1", function()
  local dir = t.tmpdir()
  local r = run(dir, REFUTED, { mark = "1GiB" })
  has_line(r.stdout, "REFUTED  The claim did not hold: ")
  local after = arm(lab.result(dir), "after").runs[1]
  assert(after.outcome.kind == "killed" or after.outcome.kind == "aborted", after.outcome.text)
  assert(after.metrics.evictions_mark == 0)
end)

t.test("without a cgroup it is an RLIMIT_DATA, named as such, and PROVEN all the same", function()
  if t.sanitized then t.skip "AddressSanitizer reserves terabytes, which RLIMIT_DATA counts" end
  local prefix, dir = lab.unprivileged()
  local r = run(dir, PROVEN, nil, prefix)
  has_line(r.stdout, "PROVEN ")
  assert(not r.stdout:find "killed", "nothing was killed")
  local result, path = lab.result(dir)
  assert(result.limit.kind == "RLIMIT_DATA" and result.limit.why:find "cgroup", "why no cgroup")
  for _, row in ipairs(arm(result, "before").runs) do
    assert(row.outcome.kind == "aborted" and row.outcome.text:find "RLIMIT_DATA", row.outcome.text)
  end
  assert_held(arm(result, "after").runs[1])
  assert(lab.read(path .. "/report.md"):find "RLIMIT_DATA")
end)

t.test("--repeat runs the arms in turns and prints counts", function()
  local dir = t.tmpdir()
  local r = run(dir, PROVEN, { ["repeat"] = "2" })
  assert(r.stdout:find "2 of 2")
  has_line(r.stdout, "died within[^\n]* 2 of 2 +0 of 2 +~ +0%.333\n")
  local result = lab.result(dir)
  for _, name in ipairs { "before", "after" } do
    assert(#arm(result, name).runs == 2 and arm(result, name).runs[2].index == 2)
  end
  assert(result["repeat"] == 2)
end, { timeout = 90 })

-- From here on: one run, and all that it leaves.

local DIR = lab.directory()
local printed

t.test("one run is PROVEN, status 0, and stdout ends with verdict and report", function()
  printed = run(DIR, PROVEN).stdout
  has_line(printed, "PROVEN  [^\n]*128KiB[^\n]*\n        [^\n]+\n"
    .. "report: runs/backpressure/%w+/report.html\n$")
  assert(not printed:find "connecting", "progress on stdout")
end)

t.test("the server of the first arm was killed, by its cgroup's own account", function()
  lab.need_cgroup()
  local result, path = lab.result(DIR)
  assert(result.verdict.word == "PROVEN" and result.limit.kind:find "^cgroup v[12]$", result.limit.kind)
  local outcome = arm(result, "before").runs[1].outcome
  assert(outcome.kind == "killed" and outcome.text:find "^killed at %d+ MiB after %d", outcome.text)
  assert(lab.read(path .. "/report.md"):find "exit signal 9, oom_kill 1", "the evidence in the report")
end)

t.test("the server of the second lived, and each stalled client was closed with 1013", function()
  assert_held(arm(lab.result(DIR), "after").runs[1])
end)

t.test("both arms had the same load", function()
  local result = lab.result(DIR)
  local before, after = arm(result, "before").runs[1].fingerprint, arm(result, "after").runs[1].fingerprint
  assert(before.publish_offered == 480 and before.clients == HEALTHY + STALLED)
  for _, field in ipairs { "publish_offered", "publish_bytes", "schedule_hash", "clients" } do
    assert(before[field] == after[field], field)
  end
end)

-- As the tables write a size: three figures, of a whole number no fraction.
local function mib(bytes)
  local value = bytes / 2 ^ 20
  local whole = value == math.floor(value)
  return ("%%.%df MiB"):format((whole or value >= 99.95) and 0 or value >= 9.995 and 1 or 2):format(value)
end

t.test("the printed table says what result.json says", function()
  local result = lab.result(DIR)
  local before, after = arm(result, "before").runs[1], arm(result, "after").runs[1]
  local function row(label, a, b)
    local figures = (a .. "    " .. b):gsub("%p", "%%%0"):gsub("    ", "  +")
    has_line(printed, label .. "[^\n]-  +" .. figures .. "  ")
  end
  row("queued bytes max", mib(before.metrics["queue_bytes.max"]), mib(after.metrics["queue_bytes.max"]))
  row("server memory", mib(before.metrics["server_memory.max"]), mib(after.metrics["server_memory.max"]))
  row("evicted at", "0", tostring(STALLED))
  local delivered = before.metrics["delivered{cohort:healthy}.ratio"] * 100
  row("delivered", ("%.1f %%"):format(delivered), "100 %")
end)

-- The rows of samples.csv, each by the names in its head.
local function samples(path)
  local rows, names = {}, nil
  for line in io.lines(path .. "/samples.csv") do
    local row, i = {}, 0
    for value in (line .. ","):gmatch "([^,]*)," do
      i = i + 1
      row[names and names[i] or i] = value
    end
    if names then rows[#rows + 1] = row else names = row end
  end
  return rows
end

t.test("samples.csv has each arm ten times a second, memory and queue on one clock", function()
  local _, path = lab.result(DIR)
  local by_arm = { before = {}, after = {} }
  for _, row in ipairs(samples(path)) do
    table.insert(by_arm[row.arm], row)
  end
  for name, rows in pairs(by_arm) do
    local span = tonumber(rows[#rows].t_s) - tonumber(rows[1].t_s)
    assert(span > 3.5 and #rows / span >= 9, ("%s: %d in %.1f s"):format(name, #rows, span))
    for i = 2, #rows do
      assert(tonumber(rows[i].t_s) > tonumber(rows[i - 1].t_s), "the clock")
    end
  end
  for _, row in ipairs(by_arm.after) do
    for _, name in ipairs { "rss", "server_memory", "queue_bytes", "kernel_socket_bytes", "slow_clients" } do
      assert(tonumber(row[name]), name)
    end
  end
  assert(by_arm.before[#by_arm.before].rss == "", "a dead server has no memory")
end)

t.test("report.html needs nothing but itself", function()
  local _, path = lab.result(DIR)
  local html = lab.read(path .. "/report.html")
  local references = { "<script", "<link", "<img", "<iframe", "src=", "url%(", "@import", "https?:" }
  for _, reference in ipairs(references) do
    assert(not html:lower():find(reference), "it refers to " .. reference)
  end
  for _, word in ipairs { "<!doctype html", "</html>", "<svg", "PROVEN", "memory limit", "does not read" } do
    assert(html:lower():find(word:lower(), 1, true), "it lacks " .. word)
  end
end)

t.test("the report draws the bound of the queues, and an absent mark is none", function()
  local _, path = lab.result(DIR)
  assert(lab.read(path .. "/report.html"):find("80 × 128 KiB", 1, true), "the line")
  assert(lab.read(path .. "/report.md"):find("| high_water_mark | none | 128 KiB |", 1, true), "differences")
end)

t.test("script.lua is the script and env.json the environment", function()
  local _, path = lab.result(DIR)
  assert(lab.read(path .. "/script.lua") == lab.read "scripts/backpressure.lua")
  local environment = {}
  for _, row in ipairs(cjson.decode(lab.read(path .. "/env.json"))) do
    environment[row.name] = row.value
  end
  for _, name in ipairs { "wsb", "kernel", "cpu", "cores", "descriptors", "seed", "net.ipv4.tcp_wmem" } do
    assert(environment[name], name)
  end
end)

t.test("latest is the run, nothing half-made beside it", function()
  local names = lab.names(DIR .. "/runs/backpressure")
  assert(#names == 2 and names[2] == "latest", table.concat(names, " "))
  assert(uv.fs_readlink(DIR .. "/runs/backpressure/latest") == names[1])
end)

local function load_of(result)
  return arm(result, "after").runs[1].fingerprint
end

t.test("the command in the report repeats the run, message for message", function()
  local first, path = lab.result(DIR)
  local replay = lab.read(path .. "/report.md"):match "\n```sh\nwsb ([^\n]+)\n```"
  assert(replay and first.command == "wsb " .. replay, "the command")
  local dir, words = t.tmpdir(), {}
  for word in replay:gmatch "%S+" do
    words[#words + 1] = word
  end
  assert(lab.run(dir, words).code == PROVEN)
  local again = lab.result(dir)
  for _, field in ipairs { "publish_offered", "publish_bytes", "schedule_hash", "clients" } do
    assert(load_of(first)[field] == load_of(again)[field], field)
  end
end)
