-- `wsb sticky`, small: who is sent back finds its state, and the price is in the table. Runs alone.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local function need(path, package)
  if not uv.fs_stat(path) then t.skip(package .. " is not installed") end
end

t.test("a cookie and a hash find their state where others have it read again", function()
  need("/usr/sbin/haproxy", "haproxy")
  need("/usr/bin/redis-server", "redis-server")
  local dir = t.tmpdir()
  local r = lab.run(dir, { "sticky", "--quiet", "--clients", "120", "--state", "4KiB", "--rounds", "3" })
  assert(r.code == 0, ("code %d\n%s%s"):format(r.code, r.stdout, r.stderr))
  local of = {}
  for _, arm in ipairs(lab.result(dir, "sticky").arms) do
    of[arm.name] = arm.runs[1].metrics
  end
  local function figure(arm, name) return of[arm][("recorded{name:%s}"):format(name)] end
  assert(figure("anywhere", "held_percent") < 60, "anywhere")
  assert(figure("cookie", "held_percent") == 100 and figure("hash", "held_percent") == 100)
  assert(figure("anywhere", "rebuilt_mib") > 0 and figure("cookie", "rebuilt_mib") == 0)
  assert(figure("cookie", "herd_on_restarted") > figure("anywhere", "herd_on_restarted"), "the herd")
  assert(figure("anywhere", "imbalance_later") < 1.1, "round robin evens out")
  assert(figure("cookie", "imbalance_later") > 1.3, "cookies keep it")
  lab.nothing_left(r)
end)
