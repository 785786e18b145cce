-- Servers keep a state of each client in memory. A client that loses its connection comes back through a load
-- balancer: to the server that has its state, or to one that has to read it from Redis first. A real HAProxy
-- sends it anywhere, where its cookie says, or where its name hashes to; and what it costs to be sent back is
-- measured too.

-- What differs between the arms is how the balancer is told to choose.
local BALANCE = {
  anywhere = { balance = "roundrobin" },
  cookie = { balance = "roundrobin", cookie = "node" },
  hash = { balance = "hash" },
  leastconn = { balance = "leastconn" },
  source = { balance = "source" },
}

local NAMES = { "a", "b", "c" }

-- A Redis of the run's own, in memory only.
local function start_redis(ctx)
  local program = require "wsb.load.program"
  local socket = os.tmpname()
  os.remove(socket)
  ctx.redis_service = program.start { label = "redis-server", ready = "unix:" .. socket,
    command = { "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no" } }
  return "unix://" .. socket
end

local function stop_redis(ctx)
  if not ctx.redis_service then return end
  ctx.redis_service:stop "2s" -- which removes its socket
  ctx.redis_service:close()
end

local function sums(ctx)
  local sum = { sessions_held = 0, sessions_rebuilt = 0, session_bytes_rebuilt = 0 }
  for _, server in ipairs(ctx.servers) do
    local counts = server:counts()
    for name in pairs(sum) do
      sum[name] = sum[name] + counts[name]
    end
  end
  return sum
end

-- All are open again, each with its state; false when that took too long. `before`: sums at the time.
local function all_back(ctx, herd, before, cut)
  return ctx:wait(function()
    local now = sums(ctx)
    local answered = now.sessions_held + now.sessions_rebuilt - before.sessions_held - before.sessions_rebuilt
    return answered >= cut and herd:counts().clients_open >= herd.n
  end, ctx.opt.within)
end

-- Cuts the connections of these servers at once, and waits until those clients are back.
local function cut(ctx, herd, servers)
  local balancer = ctx.balancers[1]
  local before, stats, number = sums(ctx), balancer:stats(), 0
  for _, server in ipairs(servers) do
    number = number + stats[server.name].connections
    balancer:cut(server)
  end
  return all_back(ctx, herd, before, number)
end

-- The servers live, and so does what they hold: connections are lost as networks lose them.
local function rolling_loss(ctx, herd)
  local before, times = sums(ctx), herd:hist "session_time"
  for _ = 1, ctx.opt.rounds do
    for _, server in ipairs(ctx.servers) do
      cut(ctx, herd, { server })
    end
  end
  local after, took = sums(ctx), herd:hist "session_time" - times
  local held = after.sessions_held - before.sessions_held
  local rebuilt = after.sessions_rebuilt - before.sessions_rebuilt
  ctx:record("held_percent", 100 * held / math.max(1, held + rebuilt))
  ctx:record("rebuilt_mib", (after.session_bytes_rebuilt - before.session_bytes_rebuilt) / (1 << 20))
  ctx:record("state_p50_ms", 1000 * took:percentile(50))
  ctx:record("state_p99_ms", 1000 * took:percentile(99))
end

-- The most connections of a server, by their mean.
local function imbalance(ctx)
  local most, sum = 0, 0
  for _, row in pairs(ctx.balancers[1]:stats()) do
    most, sum = math.max(most, row.connections), sum + row.connections
  end
  return most * #ctx.servers / math.max(1, sum)
end

local function restart(ctx, herd, server)
  server:kill()
  ctx:await_open(herd, 1, ctx.opt.within)
  server:restart()
  ctx:wait(function() return ctx.balancers[1]:stats()[server.name].status == "UP" end, ctx.opt.within)
end

local function rolling_restart(ctx, herd)
  for _, server in ipairs(ctx.servers) do
    restart(ctx, herd, server)
  end
  ctx:record("imbalance_after_restart", imbalance(ctx))
end

-- Everybody comes at once, also to the server that has come back last: it is empty and knows nobody.
local function everybody_again(ctx, herd)
  local returned = ctx.servers[#ctx.servers]
  local before, its_before = sums(ctx), returned:counts()
  local upgraded = {}
  for _, server in ipairs(ctx.servers) do
    upgraded[server.name] = server:counts().connections_upgraded
  end
  cut(ctx, herd, ctx.servers)
  local others = 0
  for _, server in ipairs(ctx.servers) do
    local more = server:counts().connections_upgraded - upgraded[server.name]
    upgraded[server.name] = more
    if server ~= returned then others = others + more / (#ctx.servers - 1) end
  end
  local rebuilt = sums(ctx).sessions_rebuilt - before.sessions_rebuilt
  local its_own = returned:counts().sessions_rebuilt - its_before.sessions_rebuilt
  ctx:record("herd_on_returned", upgraded[returned.name] / math.max(1, others))
  ctx:record("cold_percent_on_returned", 100 * its_own / math.max(1, upgraded[returned.name]))
  ctx:record("rebuilt_again", rebuilt)
  ctx:record("imbalance_later", imbalance(ctx))
end

return {
  name = "sticky",
  description = "Clients that come back to the server that holds their state need no rebuilding; and what "
    .. "being sent back costs.",
  categories = { "self-hosted" },

  options = {
    clients = { "clients behind the load balancer", 1200 },
    state = { "bytes that a server keeps of each client", "32KiB" },
    rounds = { "times that every server's connections are cut", 2 },
    held = { "per cent of the returns that have to find their state", 95 },
    within = { "time for those that were cut to be back", "10s" },
  },

  arms = {
    { name = "anywhere" },
    { name = "cookie", clients = { cookies = true } },
    { name = "hash" },
    { name = "leastconn", optional = true },
    { name = "source", optional = true },
  },

  setup = function(ctx)
    local redis = start_redis(ctx)
    for _, name in ipairs(NAMES) do
      ctx:serve { name = name, session_size = ctx.opt.state, redis = redis }
    end
    ctx:haproxy(BALANCE[ctx.arm])
  end,

  workload = function(ctx)
    local herd = ctx:clients { cohort = "herd", n = ctx.opt.clients, url = ctx.balancers[1].url,
      identify = true, reconnect = "fixed", reconnect_base = "200ms", reconnect_jitter = "full" }
    all_back(ctx, herd, { sessions_held = 0, sessions_rebuilt = 0 }, herd.n)
    ctx:start()
    ctx:sleep "300ms"
    ctx:fault("connections cut, server after server", function() rolling_loss(ctx, herd) end)
    ctx:fault("rolling restart", function() rolling_restart(ctx, herd) end)
    ctx:fault("all connections cut", function() everybody_again(ctx, herd) end)
    ctx:sleep "300ms"
  end,

  rollbacks = { { "end Redis", stop_redis } },

  thresholds = {
    anywhere = { expect = "fail", ["recorded{name:held_percent}"] = { ">=$held" } },
    cookie = { expect = "pass", ["recorded{name:held_percent}"] = { ">=$held" } },
    hash = { expect = "pass", ["recorded{name:held_percent}"] = { ">=$held" } },
    leastconn = { expect = "any" },
    source = { expect = "any" },
  },

  columns = { "recorded{name:held_percent}", "recorded{name:rebuilt_mib}", "recorded{name:state_p50_ms}",
    "recorded{name:state_p99_ms}", "recorded{name:imbalance_after_restart}",
    "recorded{name:imbalance_later}", "recorded{name:herd_on_returned}",
    "recorded{name:cold_percent_on_returned}" },
  compare = { "recorded{name:held_percent}", "recorded{name:rebuilt_mib}", "recorded{name:state_p50_ms}",
    "recorded{name:state_p99_ms}", "recorded{name:imbalance_after_restart}",
    "recorded{name:imbalance_later}", "recorded{name:herd_on_returned}" },
}
