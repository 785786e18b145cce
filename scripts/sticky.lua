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
  local sum = { sessions_held = 0, sessions_rebuilt = 0, sessions_failed = 0, session_bytes_rebuilt = 0 }
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
    local answered = 0
    for _, name in ipairs { "sessions_held", "sessions_rebuilt", "sessions_failed" } do
      answered = answered + now[name] - (before[name] or 0)
    end
    return answered >= cut and herd:counts().clients_open >= herd.n
  end, ctx.opt.within)
end

-- The servers live, and so does what they hold: connections are lost as networks lose them, here and there.
local function losses(ctx, herd)
  local first, times = sums(ctx), herd:hist "session_time"
  for _ = 1, ctx.opt.rounds do
    local before = sums(ctx)
    all_back(ctx, herd, before, ctx.balancers[1]:lose(ctx.opt.share))
  end
  local last, took = sums(ctx), herd:hist "session_time" - times
  local held = last.sessions_held - first.sessions_held
  local rebuilt = last.sessions_rebuilt - first.sessions_rebuilt
  ctx:record("held_percent", 100 * held / math.max(1, held + rebuilt))
  ctx:record("rebuilt_mib", (last.session_bytes_rebuilt - first.session_bytes_rebuilt) / (1 << 20))
  ctx:record("state_p50_ms", 1000 * took:percentile(50))
  ctx:record("state_p99_ms", 1000 * took:percentile(99))
end

-- The largest figure of a server, by their mean; `of` gives each one's.
local function peak_to_mean(ctx, of)
  local most, sum = 0, 0
  for _, server in ipairs(ctx.servers) do
    local figure = of(server)
    most, sum = math.max(most, figure), sum + figure
  end
  return most * #ctx.servers / math.max(1, sum)
end

local function imbalance(ctx)
  local stats = ctx.balancers[1]:stats()
  return peak_to_mean(ctx, function(server) return stats[server.name].connections end)
end

-- One server is back before anybody has noticed, with an empty memory: those who are sent back to it come at
-- once, and it has to read the state of each.
local function quick_restart(ctx, herd)
  local server, before, rebuilt = ctx.servers[1], sums(ctx), {}
  local lost = ctx.balancers[1]:stats()[server.name].connections
  for _, each in ipairs(ctx.servers) do
    rebuilt[each] = each:counts().sessions_rebuilt
  end
  server:kill()
  server:restart()
  all_back(ctx, herd, before, lost)
  ctx:record("herd_on_restarted", peak_to_mean(ctx, function(each)
    return each:counts().sessions_rebuilt - rebuilt[each]
  end))
end

-- Each server stays away until its clients are back elsewhere, as in a deployment.
local function rolling_restart(ctx, herd)
  local balancer = ctx.balancers[1]
  for _, server in ipairs(ctx.servers) do
    server:kill()
    ctx:wait(function() return herd:counts().clients_open == herd.n end, ctx.opt.within)
    server:restart()
    ctx:wait(function() return balancer:stats()[server.name].status == "UP" end, ctx.opt.within)
  end
  ctx:record("imbalance_after_deploy", imbalance(ctx))
end

-- Whether what a deployment has left goes away when everybody has connected once more.
local function everybody_again(ctx, herd)
  all_back(ctx, herd, sums(ctx), ctx.balancers[1]:lose(1))
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
    rounds = { "times that connections are lost", 6 },
    share = { "of all connections, at random, each time", "33%", type = "ratio" },
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
    all_back(ctx, herd, {}, herd.n)
    ctx:start()
    ctx:sleep "300ms"
    ctx:fault("losses", function() losses(ctx, herd) end)
    ctx:sleep "1s"
    ctx:fault("restart", function() quick_restart(ctx, herd) end)
    ctx:sleep "1s"
    ctx:fault("deployment", function() rolling_restart(ctx, herd) end)
    ctx:sleep "1s"
    ctx:fault("all lost", function() everybody_again(ctx, herd) end)
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
    "recorded{name:state_p99_ms}", "recorded{name:herd_on_restarted}",
    "recorded{name:imbalance_after_deploy}", "recorded{name:imbalance_later}" },
  compare = { "recorded{name:held_percent}", "recorded{name:rebuilt_mib}", "recorded{name:state_p50_ms}",
    "recorded{name:state_p99_ms}", "recorded{name:herd_on_restarted}",
    "recorded{name:imbalance_after_deploy}", "recorded{name:imbalance_later}" },

  charts = {
    { title = "States read from Redis a second", series = "sessions_rebuilt.rate", unit = "count" },
    { title = "Connections of server a", series = "connections_open{server:a}", unit = "count" },
    { title = "Connections of server b", series = "connections_open{server:b}", unit = "count" },
    { title = "Connections of server c, which was deployed last", series = "connections_open{server:c}",
      unit = "count" },
  },

  claim = "Of $clients clients that come back, those that are sent to their server by a cookie, or by a "
    .. "hash of their name, find their state there, where two of three have it read again when they are "
    .. "sent anywhere.",

  writeup = {
    lever = "The load balancer sends a client back to the server that it had: by a cookie (HAProxy: cookie "
      .. "NAME insert), or by a consistent hash of its name in the URL (balance url_param, hash-type "
      .. "consistent).",
    why = "It is the right lever when the state is local, dear to rebuild, and can be rebuilt: when "
      .. "connections are lost one by one while the servers live on, nothing has to be read again. It is "
      .. "not a way to keep state: a server that was restarted holds nothing, so whatever has to survive "
      .. "that is kept elsewhere all the same, and stickiness only saves the reading. It is the wrong "
      .. "lever where the state is small or everything comes from a shared store anyway: then its price "
      .. "buys nothing. The price is in the table. herd on restarted: the whole herd of a server that was "
      .. "quickly back is pinned to it, empty as it is, and it alone does the rebuilding (3 is all of it "
      .. "on one of three, 1 is evenly). Redis is on the same machine here: what is saved is bytes read, "
      .. "and the time to the state differs by little. imbalance after deploy, busiest server to mean: "
      .. "each server's clients go to those that are up, so the one deployed last is left empty, without "
      .. "stickiness too. But imbalance later: once everybody has connected again, round robin is even and "
      .. "a hash as even as hashes are, while cookies keep the imbalance for as long as they last.",
    alternatives = {
      { name = "A cookie",
        effect = "The balancer needs to know nothing of the client; but browsers only keep it, other "
          .. "clients have to be told to, and it keeps whatever imbalance there is. Give it a lifetime." },
      { name = "A consistent hash of the client's name",
        effect = "Keeps nothing anywhere, and comes back to the same spread after every deployment; a name "
          .. "that many share, or a few that are busy, stay together." },
      { name = "The source address",
        effect = "All behind one NAT are one client: here they all are (--arms source), and one server has "
          .. "everybody." },
      { name = "Fewest connections",
        effect = "Is not sticky, and sends everybody who comes to the server that was restarted, since it "
          .. "has the fewest (--arms leastconn)." },
      { name = "State in a shared store, read quickly",
        effect = "Any server is as good as any other, deployments need no care, and nothing is stale; each "
          .. "return costs a read." },
    },
  },
}
