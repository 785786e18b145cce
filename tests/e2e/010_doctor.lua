-- wsb doctor: what it finds, and that each thing that is not right comes with what mends it.

local lab = require "lab"
local t = require "harness"

-- Findings by thing, each with state and text.
local function examine(prefix, dir)
  local r = lab.run(dir or t.tmpdir(), { "doctor" }, prefix)
  local findings = {}
  for state, thing, text in r.stdout:gmatch "(%u+) +([%a ]-)  +([^\n]+)\n" do
    findings[thing] = { state = state, text = text }
  end
  assert(r.stderr == "", "something on stderr")
  return findings, r.code
end

t.test("names everything an experiment rests on, a line each", function()
  local findings = examine()
  for _, thing in ipairs { "descriptors", "memory limit", "loopback", "private network", "nft",
    "local ports", "accept queue", "socket buffers", "clock", "cores", "Lua libraries" } do
    local finding = assert(findings[thing], "nothing about " .. thing)
    assert(finding.state == "OK" or finding.state == "WARN" or finding.state == "FAIL", finding.state)
    assert(finding.state == "OK" or finding.text:find ": %l", thing .. " has no remedy")
  end
end)

t.test("is status 0 here, where the tests run", function()
  local findings, code = examine()
  assert(code == 0)
  for thing, finding in pairs(findings) do
    assert(finding.state ~= "FAIL", thing)
  end
end)

t.test("too few descriptors are status 69 and it says which command raises them", function()
  local findings, code = examine { "prlimit", "--nofile=200:200" }
  assert(code == 69)
  local finding = findings.descriptors
  assert(finding.state == "FAIL", finding.state)
  assert(finding.text:find "200" and finding.text:find "ulimit %-Hn %d+", finding.text)
end)

t.test("a few more descriptors are a warning", function()
  local findings, code = examine { "prlimit", "--nofile=2000:2000" }
  assert(code == 0 and findings.descriptors.state == "WARN")
  assert(findings.descriptors.text:find "ulimit")
end)

t.test("without a cgroup it names what is used instead, and why", function()
  local prefix, dir = lab.unprivileged()
  local findings, code = examine(prefix, dir)
  local finding = findings["memory limit"]
  assert(code == 0 and finding.state == "WARN")
  assert(finding.text:find "RLIMIT_DATA" and finding.text:find "run as root", finding.text)
end)
