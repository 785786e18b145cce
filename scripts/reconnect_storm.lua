-- A server goes away for a second, and all its clients come back. Each handshake costs it something, so they
-- wait in its queue; a client that has waited too long leaves and tries again, and the server works through
-- handshakes that nobody waits for any more. When all retry in step, that work alone keeps it busy.

local wsb = require "wsb"

-- What a handshake costs: options of the server and of the clients.
local COSTS = {
  auth = function(opt)
    return { auth_time = opt.auth_time, auth_slots = opt.auth_slots, auth_queue = 0 }, {}
  end,
  tls = function() return { tls = "auto", tls_auto_key = "rsa", tls_tickets = false },
    { tls_verify = false, tls_resume = false } end,
  replay = function(opt) return { welcome_size = opt.replay_size }, {} end,
}

-- Only a cut leaves clients that nobody has told.
local NOTICE = { cut = { ping_interval = "1s", ping_timeout = "1s" } }

local TRIGGERS = {}

function TRIGGERS.kill(ctx)
  ctx.server:kill()
  ctx:sleep(ctx.opt.outage)
  ctx.server:restart()
end

function TRIGGERS.drain(ctx)
  ctx.server:drain(ctx.opt.drain_window)
  ctx:sleep(ctx.opt.outage)
  ctx.server:restart()
end

function TRIGGERS.cut(ctx)
  ctx:cut(function() ctx:sleep(ctx.opt.outage + 3) end) -- as long as it takes every client to notice
end

local LABELS = { kill = "server killed, away", drain = "server drained, away", cut = "network cut" }

-- All that come back at random within it find the server with a quarter of its capacity to spare.
local function window(ctx)
  return 1.25 * ctx.opt.clients / ctx.capacity
end

-- Who is refused because the server is still away draws again, and waits no longer than the window either.
local function cap(ctx)
  return math.max(window(ctx), ctx.opt.retry)
end

local function with_window(options)
  local all = { reconnect = "exponential", reconnect_jitter = "full", reconnect_base = "$retry",
    reconnect_cap = cap, reconnect_window = window }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  return all
end

local synchronized = { reconnect = "fixed", reconnect_base = "$retry" }

-- Each but the first is there for what it shows beside the others; none of them is expected to do either.
local optional, observed = {}, {}
local function arm(name, clients, server)
  table.insert(optional, { name = name, clients = clients, server = server, optional = true })
  observed[name] = { expect = "any" }
end

arm("equal-jitter", { reconnect = "exponential", reconnect_jitter = "equal", reconnect_base = "$retry",
  reconnect_cap = "$cap" })
arm("decorrelated", { reconnect = "decorrelated", reconnect_base = "$retry", reconnect_cap = "$cap" })
for _, name in ipairs { "rfc6455", "phoenix", "signalr", "socketio", "centrifuge", "livekit", "grpc" } do
  arm(name, wsb.policies[name])
end
arm("retry-budget", { reconnect = "fixed", reconnect_base = "$retry", reconnect_budget = "$budget" })
-- The server's half: the clients are still the synchronized ones.
arm("small-backlog", synchronized, { backlog = "$small_backlog" })
arm("large-backlog", synchronized, { backlog = "$large_backlog" })
arm("accept-rate", synchronized, { accept_rate = "$accept_rate" })
arm("skip-abandoned", synchronized, { auth_abandoned = "skip", auth_queue = "1M" })
arm("refuse-503", synchronized, { auth_overflow = "refuse", auth_queue = "$auth_queue",
  reconnect_window = "$told_window" })
arm("close-1013", synchronized, { auth_overflow = "close", auth_queue = "$auth_queue",
  reconnect_window = "$told_window" })
arm("tls-resumption", { reconnect = "fixed", reconnect_base = "$retry", tls_resume = true },
  { tls_tickets = true })

local arms = {
  { name = "synchronized", clients = synchronized },
  { name = "exponential", clients = { reconnect = "exponential", reconnect_base = "$retry",
    reconnect_cap = "$cap" } },
  { name = "full-jitter", clients = { reconnect = "exponential", reconnect_jitter = "full",
    reconnect_base = "$retry", reconnect_cap = "$cap" } },
  { name = "sized-window", clients = with_window() },
}
table.move(optional, 1, #optional, #arms + 1, arms)

local thresholds = {
  synchronized = { expect = "fail", ["recovery{cohort:herd}"] = { "p(100)<$within" } },
  exponential = { expect = "any", ["recovery{cohort:herd}"] = { "p(100)<$within" } },
  ["full-jitter"] = { expect = "any", ["recovery{cohort:herd}"] = { "p(95)<$within" } },
  ["sized-window"] = { expect = "pass", ["recovery{cohort:herd}"] = { "p(100)<$within" },
    accept_overflows = { "<1" } },
}
for name, expected in pairs(observed) do
  thresholds[name] = expected
end

return {
  name = "reconnect-storm",
  description = "A herd that retries in step stalls a server for good; one spread over a sized window does "
    .. "not.",
  categories = { "self-hosted" },

  options = {
    clients = { "clients that come back", 5000 },
    trigger = { "what happens to the server", "kill", choices = { "kill", "drain", "cut" } },
    outage = { "how long it is away", "1500ms" },
    cost = { "what a handshake costs the server", "auth", choices = { "auth", "tls", "replay" } },
    auth_time = { "time of an authentication look-up", "50ms" },
    auth_slots = { "look-ups at a time", 40 },
    replay_size = { "bytes that each client gets when it comes in, with --cost replay", "256KiB" },
    backlog = { "length of the accept queue", 4096 },
    connect_timeout = { "time that a client gives an attempt", "2s" },
    retry = { "delay of the synchronized, and first delay of the others", "1s" },
    cap = { "longest delay", "30s" },
    within = { "time to recover in", "25s" },
    budget = { "attempts a minute of the retry-budget arm", 6 },
    small_backlog = { "accept queue of the small-backlog arm", 512 },
    large_backlog = { "accept queue of the large-backlog arm", 65535 },
    accept_rate = { "connections accepted a second in the accept-rate arm", "900/s" },
    auth_queue = { "clients that may wait for a look-up in the refuse and close arms", 1000 },
    told_window = { "window that refused clients are told", "7s" },
    drain_window = { "time over which --trigger drain spreads its closes", "0s" },
  },

  arms = arms,
  target = "synchronized",

  -- Kept the same on every machine; with syncookies an overflowing queue answers all the same, and leaves
  -- clients that believe they are connected.
  network = { somaxconn = 65535, tcp_max_syn_backlog = 65535, tcp_syncookies = 0, tcp_abort_on_overflow = 0,
    ip_local_port_range = "1024 65535", tcp_tw_reuse = 1 },

  setup = function(ctx)
    local server = COSTS[ctx.opt.cost](ctx.opt)
    server.backlog = ctx.opt.backlog
    ctx:serve(server)
    ctx:measure_capacity(math.min(500, ctx.opt.clients))
  end,

  workload = function(ctx)
    local opt = ctx.opt
    local _, clients = COSTS[opt.cost](opt)
    for name, value in pairs(NOTICE[opt.trigger] or {}) do
      clients[name] = value
    end
    clients.cohort, clients.n, clients.connect_timeout = "herd", opt.clients, opt.connect_timeout
    -- The first time there is no storm to be shown, so it need not take long.
    local free = opt.cost == "auth" and not ctx.server.foreign
    clients.connect_rate = free and "4000/s" or 0.8 * ctx.capacity
    if free then ctx.server:set { auth_time = 0 } end
    local herd = ctx:clients(clients)
    if free then ctx.server:set { auth_time = opt.auth_time } end
    ctx:start()
    ctx:sleep "500ms"
    ctx:fault(LABELS[opt.trigger], function() TRIGGERS[opt.trigger](ctx) end)
    if ctx:await_open(herd, 1, opt.within) then ctx:sleep "500ms" end
  end,

  thresholds = thresholds,

  columns = { "recorded{name:capacity}", "recovery{cohort:herd}.p(95)", "recovery{cohort:herd}.p(100)",
    "clients_started{cohort:herd,since:fault}.each", "syns.peak", "syns", "accept_overflows", "listen_drops",
    "clients_expired{cohort:herd,since:fault}", "auth_started{since:fault}", "auth_wasted{since:fault}",
    "accept_queue.max" },
  compare = { "recovery{cohort:herd}.p(100)", "recovery{cohort:herd}.p(95)", "accept_overflows",
    "clients_started{cohort:herd,since:fault}.each", "auth_wasted{since:fault}" },

  charts = {
    { title = "Clients connected", series = "clients_open{cohort:herd}", unit = "count" },
    { title = "SYN a second", series = "syns.rate", unit = "count" },
    { title = "Connections accepted a second", series = "connections_accepted.rate", unit = "count" },
    { title = "Clients let in a second (goodput)", series = "clients_opened{cohort:herd}.rate" },
    { title = "Look-ups wasted a second: the client had left", series = "auth_wasted.rate" },
    { title = "Accept queue", series = "accept_queue", unit = "count" },
  },

  claim = "$clients clients that come back at random within a window sized to the server's capacity are all "
    .. "back within $within, where retrying every $retry keeps the server busy with clients that have left.",

  writeup = {
    lever = "A random first delay within a window sized to what the server can take: 1.25 x clients / "
      .. "handshakes a second. After it, exponential backoff with full jitter.",
    why = "A handshake takes the server time, and whoever waits longer than the connect timeout leaves: the "
      .. "work for it is done in vain. Retrying in step brings the whole herd at once, so most wait too "
      .. "long, leave, and come back together: the queue holds only the departed, and goodput falls to "
      .. "nothing though the trigger is long gone. A window that the server can keep up with removes the "
      .. "cause: nobody waits, so nothing is wasted and nothing has to be repeated. It needs no change of "
      .. "the server and costs a client a few seconds. Measured over three runs: all back after 8.9 s with "
      .. "1.3 attempts a client, where the synchronized made 7.4 and 91 % of the look-ups were wasted. "
      .. "Jitter without the right window is not enough: the first attempts still come within one short "
      .. "delay.",
    alternatives = {
      { name = "Exponential backoff without jitter",
        effect = "Spreads the rounds, not the clients: each round comes back together, half as often. Not "
          .. "all back in 25 s in 5 of 5 runs, 55 % of the look-ups wasted." },
      { name = "A larger backlog",
        effect = "More wait, longer than they are willing to, and the server works for those that have left: "
          .. "not recovered, 91 % wasted (--arms large-backlog). So does a lower accept rate alone, which "
          .. "leaves them in the kernel's queue (--arms accept-rate)." },
      { name = "A smaller backlog",
        effect = "Is admission control: who is let into the queue is served in time. All back in 12.8 s, 16 "
          .. "% wasted; but a SYN that is dropped comes back on the kernel's timer, which has no jitter: "
          .. "14,304 overflows (--arms small-backlog)." },
      { name = "Refusing early",
        effect = "503 with a random Retry-After (10.5 s), or 1013 with a window in its reason (9.5 s), "
          .. "nothing wasted: the server's half of the fix, as good as the window where clients honour it "
          .. "(--arms refuse-503,close-1013)." },
      { name = "Not serving the departed",
        effect = "Looking whether a client is still there before working for it ends the waste at its root: "
          .. "10.3 s, 3 % wasted. It takes a server that can look (--arms skip-abandoned)." },
      { name = "TLS session resumption",
        effect = "Cheaper handshakes raise the capacity, when the handshake is the cost (--cost tls --arms "
          .. "tls-resumption)." },
    },
  },
}
