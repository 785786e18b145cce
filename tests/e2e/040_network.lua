-- A network of the run's own, and the kernel's counters in it. What is asked is asked by a script, from
-- within the network; what is left of it is looked for outside.

local child = require "child"
local cjson = require "cjson"
local lab = require "lab"
local t = require "harness"

-- Before every script: its answer is what it puts into `out`.
local HEAD = [[
local core, network = require "wsb.core", require "wsb.load.network"
local task, lfs = require "wsb.base.task", require "lfs"
local out = {}
local function namespace() return lfs.symlinkattributes("/proc/self/ns/net", "target") end
local function wait(what, ready) assert(task.wait(ready, 15), "waited for " .. what) end
local function moved(before, name) return (core.netstat()[name] or 0) - (before[name] or 0) end
local function changes(before, ...)
  local all = {}
  for i, name in ipairs { ... } do all[i] = moved(before, name) end
  return table.concat(all, " ")
end
local function is(dial, state) return function() return dial:state() == state end end
local function run(command)
  local pipe = io.popen("PATH=\"$PATH:/usr/sbin:/sbin\" " .. command)
  local text = pipe:read("a")
  pipe:close()
  return text
end
return { name = "mine", description = "a test's own", run = function(ctx)
]]
local TAIL = [[
  io.stdout:write(require("cjson").encode(out), "\n")
end }
]]

local function start(body, prefix, dir)
  dir = dir or t.tmpdir()
  lab.write(dir .. "/mine.lua", HEAD .. body .. TAIL)
  return lab.run(dir, { "mine.lua" }, prefix)
end

-- Runs it to its end and looks that nothing stays behind; its `out`.
local function ask(body, prefix, dir)
  local r = start(body, prefix, dir)
  assert(r.code == 0, ("code %d"):format(r.code))
  lab.nothing_left(r)
  return cjson.decode(r.stdout)
end

local function namespaces()
  return child.run({ "lsns", "-t", "net", "-n", "-o", "NS" }).stdout
end

-- Who may have neither kind of namespace has nothing to test.
local function need_private(prefix, dir)
  local said = lab.run(dir or t.tmpdir(), { "doctor" }, prefix).stdout
  if not said:find "OK +private network" then
    t.skip(said:match "private network +([^\n]+)" or "doctor does not say")
  end
end

local function need_nft()
  local nft = t.run { "sh", "-c", "PATH=\"$PATH:/usr/sbin\" nft --version" }
  if nft.code ~= 0 then t.skip "nft is not installed" end
end

-- Where the script was at each step, and what it could see there.
local STAY = [[
  out.outside = namespace()
  out.first = network.enter { private = true }
  out.first_namespace = namespace()
  local refused = core.dial("127.0.0.1", 1)
  wait("a refusal", is(refused, "failed"))
  out.counted = core.netstat().ActiveOpens
  out.second = network.enter { private = true }
  out.second_namespace = namespace()
  out.counted_afresh = core.netstat().ActiveOpens
  out.left, out.why = network.leave()
  out.last = namespace()
  out.user = core.getuid()
  local file = io.open("written", "w")
  file:close()
]]

t.test("every run gets a fresh network, and nothing of it stays", function()
  need_private()
  local said = ask(STAY)
  assert(said.first.private and said.first.kind == "network namespace" and said.first.why == nil)
  assert(said.first_namespace ~= said.outside and said.second_namespace ~= said.outside)
  assert(said.first_namespace ~= said.second_namespace)
  assert(said.counted == 1 and said.counted_afresh == 0, "the counters are not the run's own")
  assert(said.left and said.last == said.outside, "it did not come back")
  for _, name in ipairs { said.first_namespace, said.second_namespace } do
    assert(not namespaces():find(name:match "%d+", 1, true), name .. " is still there")
  end
end)

t.test("an ordinary user gets one too, or an honest reason", function()
  local prefix, dir = lab.unprivileged()
  local probed = lab.run(dir, { "doctor" }, prefix).stdout:match "private network +([^\n]+)"
  if not probed:find "^can be had" then
    local said = ask("out = network.enter()", prefix, dir)
    assert(not said.private and #said.why > 0, "no reason")
    t.skip(said.why)
  end
  assert(probed == "can be had through a user namespace", probed)
  local said = ask(STAY, prefix, dir)
  assert(said.first.kind == "user and network namespace" and said.second.kind == said.first.kind)
  assert(said.first_namespace ~= said.outside and said.second_namespace ~= said.first_namespace)
  assert(said.counted == 1 and said.counted_afresh == 0, "the counters are not the run's own")
  assert(not said.left and said.why:find "not permitted", "nobody leaves a user namespace")
  assert(said.last == said.second_namespace)
  local owner = child.run({ "stat", "-c", "%u", dir .. "/written" }).stdout
  assert(tonumber(owner) == said.user, "files are written by " .. owner)
  assert(not namespaces():find(said.first_namespace:match "%d+", 1, true), "it is still there")
end)

t.test("the server of the run is in it, and cannot be reached from outside", function()
  need_private()
  local out = ask [[
  network.enter { private = true }
  ctx:serve {}
  local dial = core.dial("127.0.0.1", ctx.server.port)
  wait("a connection", is(dial, "open"))
  out.port = ctx.server.port
  core.own_network()
  local stranger = core.dial("127.0.0.1", ctx.server.port)
  wait("its end", function() return stranger:state() ~= "connecting" end)
  out.stranger = stranger:state()
  ]]
  assert(out.stranger == "failed", "port " .. out.port .. " was " .. out.stranger)
end)

local PINS = { somaxconn = "16", tcp_max_syn_backlog = "64", tcp_syncookies = "0",
  tcp_abort_on_overflow = "0", ip_local_port_range = "20000 40000", tcp_tw_reuse = "1",
  tcp_syn_linear_timeouts = "2" }

t.test("its settings are pinned, and the machine's stay", function()
  need_private()
  local out = ask(([[
  local before = network.describe().sysctls
  local pins = require("cjson").decode('%s')
  for name in pairs(pins) do if not before[name] then pins[name] = nil end end
  out.before, out.wanted, out.inside = before, pins, network.enter { private = true, sysctls = pins }
  network.leave()
  out.after = network.describe().sysctls
  ]]):format(cjson.encode(PINS)))
  assert(out.wanted.somaxconn, "not even somaxconn")
  for name, value in pairs(out.wanted) do
    assert(out.inside.sysctls[name] == value and out.inside.pinned[name] == value, name)
  end
  for name, value in pairs(out.before) do assert(out.after[name] == value, name) end
end)

t.test("a setting that is none, or takes no such value, is named with what is accepted", function()
  need_private()
  local function refused(code, sysctls, ...)
    local r = start(("network.enter { private = true, sysctls = { %s } }"):format(sysctls))
    assert(r.code == code, ("code %d"):format(r.code))
    for _, word in ipairs { ... } do
      assert(r.stderr:find(word, 1, true), ("it does not say '%s'"):format(word))
    end
  end
  refused(70, "tcp_nothing = 1", "tcp_nothing", "somaxconn", "tcp_tw_reuse")
  refused(70, "somaxconn = 'many'", "somaxconn", "many", "a whole number")
  refused(70, "ip_local_port_range = 5000", "ip_local_port_range", "LOWEST HIGHEST")
  refused(69, "ip_local_port_range = '40000 20000'", "net.ipv4.ip_local_port_range", "40000 20000")
end)

t.test("counters agree with nstat and move by exactly what happens", function()
  need_private()
  local out = ask [[
  network.enter { private = true }
  ctx:serve {}
  local before, dials = core.netstat(), {}
  for i = 1, 7 do dials[i] = core.dial("127.0.0.1", ctx.server.port) end
  wait("connections", function()
    for _, dial in ipairs(dials) do if dial:state() ~= "open" then return false end end
    return moved(before, "PassiveOpens") >= 7
  end)
  out.opened = changes(before, "ActiveOpens", "PassiveOpens", "AttemptFails", "CurrEstab")
  before = core.netstat()
  for i = 1, 3 do dials[i] = core.dial("127.0.0.1", 1) end
  wait("refusals", function()
    return dials[1]:state() == "failed" and dials[2]:state() == "failed" and dials[3]:state() == "failed"
  end)
  out.refused = changes(before, "ActiveOpens", "PassiveOpens", "AttemptFails", "CurrEstab")
  out.nstat = "\n" .. run "nstat -asz | grep ^Tcp"
  out.ours, out.names = core.netstat(), core.netstat_figures()
  ]]
  assert(out.opened == "7 7 0 14", out.opened)
  assert(out.refused == "3 0 3 0", out.refused)
  local compared = 0
  for _, figure in ipairs(out.names) do
    local theirs = out.nstat:match("\nTcp" .. figure.name .. "%s+(%d+)")
      or out.nstat:match("\nTcpExt" .. figure.name .. "%s+(%d+)")
    if figure.kind == "counter" then -- it leaves gauges out
      assert(tonumber(theirs) == out.ours[figure.name], figure.name .. " is " .. tostring(theirs))
      compared = compared + (theirs and 1 or 0)
    end
  end
  assert(compared >= 12, ("only %d were compared"):format(compared))
end)

t.test("a full accept queue shows in ListenOverflows, and in ss", function()
  need_private()
  local out = ask [[
  network.enter { private = true, sysctls = { tcp_syncookies = 0 } }
  ctx:serve { backlog = 1 }
  ctx.server.process.worker:kill(19)
  local before, dials = core.netstat(), {}
  for i = 1, 6 do dials[i] = core.dial("127.0.0.1", ctx.server.port) end
  wait("overflows", function() return moved(before, "ListenOverflows") >= 4 end)
  wait("a second try", function() return moved(before, "TCPSynRetrans") > 0 end)
  out.opens, out.drops = moved(before, "ActiveOpens"), moved(before, "ListenDrops")
  out.overflows = moved(before, "ListenOverflows")
  out.open = 0
  for _, dial in ipairs(dials) do out.open = out.open + (dial:state() == "open" and 1 or 0) end
  out.port, out.ss = ctx.server.port, run "ss -Hlnt"
  ctx.server.process.worker:kill(18)
  ]]
  local queued, length = out.ss:match("LISTEN%s+(%d+)%s+(%d+)%s+%S+:" .. out.port)
  assert(queued == "2" and length == "1", out.ss) -- the kernel holds one more than it was told
  assert(out.open == 2, out.open .. " are open")
  assert(out.opens == 6 and out.drops >= out.overflows)
end)

-- A server answers a request that it does not like: bytes that come back prove the way in both directions.
local CUT = [[
  network.enter { private = true }
  ctx:serve {}
  local port = ctx.server.port
  local old, bystander = core.dial("127.0.0.1", port), core.dial("127.0.0.1", port)
  wait("a connection", is(old, "open"))
  network.cut(port)
  local before = core.netstat()
  old:send "POST / HTTP/1.1\r\nHost: x\r\n\r\n"
  local new = core.dial("127.0.0.1", port)
  wait("the SYN's repetition", function() return moved(before, "TCPSynRetrans") > 0 end)
  wait("the request's repetitions", function()
    return moved(before, "RetransSegs") - moved(before, "TCPSynRetrans") >= 2
  end)
  out.cut = { old = old:state(), new = new:state(), came = old:take(),
    accepted = moved(before, "PassiveOpens") }
  network.heal()
  local answer = ""
  wait("an answer", function()
    answer = answer .. old:take()
    return answer:find "HTTP/1.1 405"
  end)
  wait("the new connection", is(new, "open"))
  out.rules = run "nft list ruleset"
  bystander:close()
]]

local function cut_and_heal(prefix, dir)
  local out = ask(CUT, prefix, dir)
  assert(out.cut.old == "open" and out.cut.came == "", "something came through")
  assert(out.cut.new == "connecting" and out.cut.accepted == 0, "a SYN came through")
  assert(out.rules == "", out.rules)
end

t.test("cut, nothing passes in either direction; healed, all that was sent does", function()
  need_nft()
  need_private()
  cut_and_heal()
end)

t.test("an ordinary user can cut and heal", function()
  need_nft()
  local prefix, dir = lab.unprivileged()
  need_private(prefix, dir)
  cut_and_heal(prefix, dir)
end)

local function cannot(body, prefix, dir, ...)
  local r = start(body, prefix, dir)
  assert(r.code == 69, ("code %d"):format(r.code))
  local line = r.stderr:match "^wsb: ([^\n]+)\n$"
  assert(line, "not one line")
  for _, word in ipairs { ... } do
    assert(line:find(word, 1, true), ("it does not say '%s'"):format(word))
  end
  lab.nothing_left(r)
end

t.test("the machine's own network is never cut", function()
  cannot("network.enter { private = false } network.cut(9)", nil, nil, "port 9", "private network",
    "not asked for", "wsb doctor")
  cannot("network.cut(9)", nil, nil, "port 9", "private network")
end)

-- Runs what follows with `command` done first, in a user namespace of its own.
local function after(command)
  local prefix = { "unshare", "-rm", "sh", "-c", command .. " && exec \"$@\"", "sh" }
  local tried = t.run(table.move({ "true" }, 1, 1, #prefix + 1, { table.unpack(prefix) }))
  if tried.code ~= 0 then t.skip(command .. " cannot be had here") end
  return prefix
end

t.test("without nft a cut names the package", function()
  need_private()
  need_nft()
  local prefix = after [[mount --bind /dev/null "$(PATH="$PATH:/usr/sbin" command -v nft)"]]
  cannot("network.enter { private = true } network.cut(9)", prefix, nil, "port 9", "nft",
    "apt-get install nftables")
  local doctor = lab.run(t.tmpdir(), { "doctor" }, prefix).stdout
  assert(doctor:find "WARN +nft +missing[^\n]+apt%-get install nftables", doctor)
end)

t.test("without a private network it is the machine's, and says why", function()
  local prefix = after "echo 0 >/proc/sys/user/max_net_namespaces"
  local out = ask([[
  out.before = namespace()
  out.how = network.enter { sysctls = { somaxconn = 16 } }
  out.after = namespace()
  ]], prefix)
  assert(not out.how.private and out.how.kind == "the machine's" and out.before == out.after)
  assert(out.how.why:find "unshare", out.how.why)
  assert(next(out.how.pinned) == nil, "it claims to have pinned something")
  cannot("network.enter { private = true }", prefix, nil, "private network", "unshare", "wsb doctor")
  local doctor = lab.run(t.tmpdir(), { "doctor" }, prefix).stdout
  assert(doctor:find "WARN +private network +none[^\n]+unshare[^\n]+max_net_namespaces", doctor)
end)

t.test("more connections than ports are refused before they are tried", function()
  need_private()
  local function ports(range, arguments)
    return ("network.enter { private = true, sysctls = { ip_local_port_range = '%s' } } "
      .. "network.check_ports(%s)"):format(range, arguments)
  end
  ask(ports("20000 49999", "14000, nil, 1"))
  ask(ports("20000 49999", "28001"))
  ask(ports("20000 20099", "100, nil, 1"))
  cannot(ports("20000 49999", "14001, nil, 1"), nil, nil, "14001 connections", "14000 available",
    "1 source address", "fewer clients")
  cannot(ports("20000 20099", "101, nil, 1"), nil, nil, "101 connections", "100 available", "20000 20099")
  cannot(ports("20000 20099", "14001"), nil, nil, "200 available", "2 source addresses")
end)
