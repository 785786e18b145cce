-- ctx:haproxy: a real HAProxy in front of servers, how it chooses, what it says of them, and its end.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local ENVIRONMENT, SCRIPT, INTERRUPTED = 69, 70, 130

local function has_haproxy()
  for _, path in ipairs { "/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy" } do
    if uv.fs_stat(path) then return true end
  end
  return false
end

-- Runs a script's body behind three servers; what it printed, or the process where it is to fail.
local function script(body, code)
  if not has_haproxy() then t.skip "haproxy is not installed" end
  local text = [[
return { name = "balanced", description = "test", run = function(ctx)
  for _, name in ipairs { "a", "b", "c" } do ctx:serve { name = name } end
  local function connections(balancer)
    local stats = balancer:stats()
    return ("%d %d %d"):format(stats.a.connections, stats.b.connections, stats.c.connections)
  end
  local function herd(balancer, options)
    local all = { cohort = "herd", n = 30, url = balancer.url, reconnect = "fixed", reconnect_base = "20ms" }
    for name, value in pairs(options or {}) do all[name] = value end
    return ctx:clients(all)
  end
  -- Cuts them, and waits until so many have come back.
  local function again(group, cut)
    local opened = group:counts().clients_opened
    local number = cut()
    return ctx:wait(function() return group:counts().clients_opened - opened >= number end, "10s")
  end
]] .. body .. "\nend }\n"
  local dir = t.tmpdir()
  lab.write(dir .. "/balanced.lua", text)
  local r = lab.run(dir, { "balanced.lua" }, { "env", "TMPDIR=" .. dir })
  assert(r.code == (code or 0), ("code %d\n%s"):format(r.code, r.stderr))
  lab.nothing_left(r)
  return code and r.stderr or r.stdout
end

t.test("clients go through it, evenly, and it says where they are", function()
  local said = script [[
    local balancer = ctx:haproxy()
    local group = herd(balancer)
    local stats = balancer:stats()
    print(connections(balancer), stats.a.status, stats.a.total, stats.a.failed, stats.d)
    print(group:counts().clients_opened, ctx.servers[1]:counts().connections_upgraded)
    print(balancer:alive(), balancer:pid() > 1, balancer:command "show info":match "Name: (%w+)")
  ]]
  assert(said == "10 10 10\tUP\t10\t0\tnil\n30\t10\ntrue\ttrue\tHAProxy\n", said)
end)

t.test("a message through it reaches those at the same server", function()
  local said = script [[
    local balancer = ctx:haproxy { servers = { ctx.servers[1] } }
    local group = herd(balancer)
    ctx:publish { url = balancer.url, rate = "50/s", duration = "200ms" }
    print(ctx:wait(function() return group:counts().messages_received == 300 end, "5s"))
  ]]
  assert(said == "true\n", said)
end)

t.test("a cookie brings them back, and is kept only when told to", function()
  local said = script [[
    local balancer = ctx:haproxy { cookie = "node" }
    local mine = herd(balancer, { cookies = true })
    print(again(mine, function() balancer:cut(ctx.servers[2]) return 10 end), connections(balancer))
    print(again(mine, function() balancer:cut "b" return 10 end), connections(balancer))
    ctx.cohorts[1]:stop()
    ctx:wait(function() return connections(balancer) == "0 0 0" end, "5s")
    local other = herd(balancer, { cohort = "other" })
    again(other, function() balancer:cut "b" return 10 end)
    print(connections(balancer) ~= "10 10 10")
  ]]
  assert(said == "true\t10 10 10\ntrue\t10 10 10\ntrue\n", said)
end)

t.test("a hash of the name brings them back", function()
  local said = script [[
    local balancer = ctx:haproxy { balance = "hash" }
    local group = herd(balancer, { n = 60, identify = true })
    local before = connections(balancer)
    print(before ~= "20 20 20", again(group, function() return balancer:lose(0.5) end))
    print(before == connections(balancer), again(group, function() return balancer:lose(1) end))
    print(before == connections(balancer))
  ]]
  assert(said == "true\ttrue\ntrue\ttrue\ntrue\n", said)
end)

t.test("one address is one server by its source, and fewest connections are counted", function()
  local said = script [[
    local source = ctx:haproxy { balance = "source" }
    herd(source)
    local counts = {}
    for n in connections(source):gmatch "%d+" do counts[#counts + 1] = tonumber(n) end
    table.sort(counts)
    print(table.concat(counts, " "))
    local fewest = ctx:haproxy { balance = "leastconn" }
    herd(fewest, { cohort = "second" })
    print(connections(fewest))
  ]]
  assert(said == "0 0 30\n10 10 10\n", said)
end)

t.test("a server is drained, disabled, and enabled again", function()
  local said = script [[
    local balancer = ctx:haproxy()
    local group = herd(balancer)
    balancer:drain(ctx.servers[1])
    print(balancer:stats().a.status, balancer:stats().a.connections)
    again(group, function() return balancer:lose(1) end)
    print(connections(balancer))
    balancer:disable "b"
    print(balancer:stats().b.status)
    balancer:enable "a"
    balancer:enable "b"
    print(balancer:stats().a.status, balancer:stats().b.status)
  ]]
  assert(said == "DRAIN\t10\n0 15 15\nMAINT\nUP\tUP\n", said)
end)

t.test("a dead server is noticed, and so is its return", function()
  local said = script [[
    local balancer = ctx:haproxy { check = "50ms" }
    local group = herd(balancer)
    ctx.servers[1]:kill()
    print(ctx:wait(function() return balancer:stats().a.status == "DOWN" end, "5s"))
    print(ctx:wait(function() return group:counts().clients_open == 30 end, "5s"))
    print(balancer:stats().a.connections)
    ctx.servers[1]:restart()
    print(ctx:wait(function() return balancer:stats().a.status == "UP" end, "5s"))
  ]]
  assert(said == "true\ntrue\n0\ntrue\n", said)
end)

t.test("what is wrong is named", function()
  local function refused(body, text, code)
    local said = script(body, code or SCRIPT)
    assert(said:find(text, 1, true), said)
  end
  refused([[ctx:haproxy { balance = "luck" }]], "'luck' is not accepted: give roundrobin, leastconn")
  refused([[ctx:haproxy { cookie = "a b" }]], "ctx:haproxy.cookie: 'a b' is not accepted")
  refused([[ctx:haproxy { servers = {} }]], "ctx:haproxy.servers: none: call ctx:serve first")
  refused([[local b = ctx:haproxy() b:cut "nobody"]], "haproxy: No such server")
  refused([[ctx:haproxy { port = ctx.servers[1].port }]], "is taken already", ENVIRONMENT)
end)

t.test("without it one is told how to get it", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/none.lua", [[
    local lfs = require "lfs"
    local attributes = lfs.attributes
    lfs.attributes = function(path, ...)
      if path:find "/haproxy$" then return nil end
      return attributes(path, ...)
    end
    return { name = "none", description = "test", run = function(ctx) ctx:serve {} ctx:haproxy() end }
  ]])
  local r = lab.run(dir, { "none.lua" })
  assert(r.code == ENVIRONMENT, r.stderr)
  assert(r.stderr:find("haproxy: not found: apt-get install haproxy", 1, true), r.stderr)
  lab.nothing_left(r)
end)

t.test("an interrupt leaves neither it nor its files", function()
  if not has_haproxy() then t.skip "haproxy is not installed" end
  local dir = t.tmpdir()
  lab.write(dir .. "/balanced.lua", [[
    return { name = "balanced", description = "test", run = function(ctx)
      ctx:serve {}
      local balancer = ctx:haproxy()
      print(balancer.socket)
      io.stdout:flush()
      ctx:sleep "60s"
    end }
  ]])
  local process = lab.start(dir, { "balanced.lua" })
  local socket = process:line("^(/.+)$", 20)
  assert(uv.fs_stat(socket).type == "socket")
  process:signal "sigint"
  assert(process:wait(10) and process.code == INTERRUPTED, "code")
  lab.nothing_left(process)
  assert(not uv.fs_stat((socket:gsub("/stats$", ""))), "its directory is left")
end)

