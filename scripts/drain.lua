-- A rolling restart as the clients see it. Cliff: the old server dies, the new one comes a second later.
-- Glide:
-- the new one listens first, on the same port, and the old one sends its clients over, a few at a time.

local COHORT = "{cohort:subscribers}"
local SINCE = "{cohort:subscribers,since:fault}"

-- Both servers publish one feed, as from a common source, so that a client can tell what it missed.
local function options(opt)
  return { feed_rate = opt.rate, feed_size = opt.size, feed_by_clock = true, reuse_port = true }
end

local function successor(ctx)
  local server = options(ctx.opt)
  server.name, server.port = "successor", ctx.server.port
  ctx:serve(server)
end

local RESTARTS = {}

function RESTARTS.cliff(ctx)
  ctx.server:kill()
  ctx:sleep(ctx.opt.outage)
  successor(ctx)
end

function RESTARTS.glide(ctx)
  successor(ctx)
  ctx.server:drain()
end

local expected = {
  ["clients_started" .. COHORT] = { "peak<$peak" },
  ["closes{code:1006,cohort:subscribers}"] = { "seen<1" },
  ["recovery" .. COHORT] = { "p(100)<$within" },
}

local function with(expect)
  local all = { expect = expect }
  for metric, expressions in pairs(expected) do
    all[metric] = expressions
  end
  return all
end

return {
  name = "drain",
  description = "A restart that drops every client at once, against one that drains them over a window.",
  categories = { "self-hosted" },

  options = {
    clients = { "subscribers", 3000 },
    rate = { "messages published", "20/s" },
    size = { "payload of each", "256B" },
    retry = { "delay of a client that is told nothing", "1s" },
    outage = { "time between the two servers of the cliff", "1s" },
    window = { "time over which the glide closes its clients", "10s" },
    told = { "window that they are told to come back in", "500ms" },
    peak = { "most reconnects in a second", 1000 },
    within = { "time until all are back", "20s" },
  },

  arms = {
    { name = "cliff" },
    { name = "glide", server = { drain_window = "$window",
      reconnect_window = "$told" } },
  },

  network = { somaxconn = 65535, tcp_max_syn_backlog = 65535 },

  setup = function(ctx) ctx:serve(options(ctx.opt)) end,

  workload = function(ctx)
    local opt = ctx.opt
    local subscribers = ctx:clients { cohort = "subscribers", n = opt.clients, counted_publisher = 0,
      reconnect = "fixed", reconnect_base = opt.retry }
    ctx:start()
    ctx:sleep "1s"
    ctx:fault("rolling restart", function() RESTARTS[ctx.arm](ctx) end)
    if ctx:await_open(subscribers, 1, opt.within) then ctx:sleep "1s" end
  end,

  thresholds = { cliff = with "fail", glide = with "pass" },

  columns = { "clients_started" .. COHORT .. ".peak", "closes{code:1006,cohort:subscribers}.seen",
    "closes{code:1012,cohort:subscribers}.seen", "messages_missed" .. SINCE .. ".each",
    "clients_open" .. COHORT .. ".min", "recovery" .. COHORT .. ".p(100)", "clients_refused" .. SINCE,
    "reconnect_time" .. SINCE .. ".p(50)", "reconnect_time" .. SINCE .. ".p(99)" },
  compare = { "clients_started" .. COHORT .. ".peak", "messages_missed" .. SINCE .. ".each",
    "closes{code:1006,cohort:subscribers}.seen", "clients_open" .. COHORT .. ".min" },

  charts = {
    { title = "Subscribers connected", series = "clients_open" .. COHORT },
    { title = "Reconnects begun a second", series = "clients_started" .. COHORT .. ".rate" },
    { title = "Messages received a second", series = "messages_received" .. COHORT .. ".rate" },
    { title = "Server processor time, both together", series = "cpu", unit = "ratio" },
  },

  claim = "A drain over $window, the successor already listening, sends $clients clients over with close "
    .. "code 1012 and never more than $peak of them in a second.",

  writeup = {
    lever = "Drain: let the successor listen first, then close with 1012 a few clients at a time, and tell "
      .. "each when to come back.",
    why = "Whoever stops a server knows the moment beforehand, which no client does. Spreading the closes "
      .. "over a window is the one place where the herd can be kept from forming at all: no client has to be "
      .. "changed, none sees a connection refused, and at any moment nearly all are connected. Clients miss "
      .. "only what is published between their own close and their own return.",
    alternatives = {
      { name = "Jitter in the clients", effect = "Still needed for crashes, which nobody announces. For a "
        .. "restart it spreads the return, but all are gone at once." },
      { name = "A quicker restart", effect = "Shortens the outage and changes nothing about the herd: all "
        .. "come back within one retry delay." },
      { name = "A load balancer that holds connections", effect = "Cannot move an open WebSocket: the "
        .. "connection's state is in the process that ends." },
    },
  },
}
