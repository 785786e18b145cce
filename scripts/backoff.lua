-- Many clients connect at the same moment to a server that takes a few handshakes at a time, and come back as
-- their policy says until they are in: the classic comparison of backoff policies, with real sockets.
--
-- The server refuses at once (503) whom it has no room for. Were they to wait in its queue, the queue would
-- serialize them, whatever their policy, and only the connect timeout would send anybody back; refused, it is
-- the policy alone that decides when they come again. That they would be told when (Retry-After) is left out
-- for the same reason.

local function policy(changes)
  local all = { reconnect_base = "$base", reconnect_cap = "$cap" }
  for name, value in pairs(changes) do
    all[name] = value
  end
  return all
end

local WITH_JITTER = { "equal-jitter", "full-jitter", "decorrelated" }

-- Of a herd that the server takes in fewer rounds most have come in before the policies differ.
local ROUNDS = 8

local function contended(results)
  return results.most >= ROUNDS * results.opt.slots
end

local function expect(results)
  local list = {}
  for _, arm in ipairs(WITH_JITTER) do
    table.insert(list, results:less("calls", arm, "exponential"))
    table.insert(list, results:less("seconds", arm, "exponential", nil, 2))
  end
  table.insert(list, results:less("calls", "full-jitter", "fixed"))
  for _, one in ipairs(list) do
    if not contended(results) then one.held = nil end
  end
  return list
end

return {
  name = "backoff",
  description = "Clients that all connect at once: waiting longer does not part them, chance does.",
  categories = { "self-hosted" },

  options = {
    clients = { "how many connect at once, comma-separated", "10,20,50,100,200,500,1000" },
    slots = { "handshakes that the server takes at a time; the rest is refused", 25 },
    handshake = { "time that each of them takes", "50ms" },
    base = { "first delay of every policy, and the only one of fixed", "200ms" },
    cap = { "longest delay", "1s" },
  },

  over = { name = "clients", label = "clients", values = "$clients", log = true },

  arms = {
    { name = "fixed", clients = policy { reconnect = "fixed" } },
    { name = "exponential", clients = policy { reconnect = "exponential" } },
    { name = "equal-jitter", clients = policy { reconnect = "exponential", reconnect_jitter = "equal" } },
    { name = "full-jitter", clients = policy { reconnect = "exponential", reconnect_jitter = "full" } },
    { name = "decorrelated", clients = policy { reconnect = "decorrelated" } },
  },

  network = { somaxconn = 65535, tcp_max_syn_backlog = 65535, tcp_syncookies = 0, tcp_abort_on_overflow = 0,
    ip_local_port_range = "1024 65535", tcp_tw_reuse = 1 },

  measure = function(ctx, clients)
    local opt = ctx.opt
    ctx:serve { auth_slots = opt.slots, auth_time = opt.handshake, auth_queue = 0,
      auth_overflow = "refuse" }
    local herd = ctx:clients { cohort = "herd", n = clients, connect_rate = 1e6, reconnect_honour = false }
    return { calls = herd:counts().clients_started, seconds = herd.connect_s or math.huge,
      refused = ctx.server:counts().connections_refused }
  end,

  columns = {
    { name = "calls", label = "calls", unit = "count", better = "lower" },
    { name = "seconds", label = "time until the last client is in", unit = "seconds", better = "lower" },
    { name = "refused", label = "handshakes refused: work in vain", unit = "count",
      better = "lower" },
  },

  charts = {
    { title = "Calls until all clients are in", column = "calls", log = true },
    { title = "Time from the first call until the last client is in", column = "seconds", log = true },
  },

  expect = expect,

  claim = "Where far more clients come than the server takes at a time, each policy with jitter needs fewer "
    .. "calls than exponential backoff without it, and less than half the time; and full jitter fewer calls "
    .. "than a fixed delay.",

  writeup = {
    lever = "Spreading, not waiting longer: take chance into every delay.",
    why = "Clients that were refused together and wait equally long come back together. The server takes as "
      .. "many as it has room for and refuses the rest, so a herd of N needs N / slots rounds and about "
      .. "N² / (2 × slots) calls. Doubling the delay changes the time between the rounds and not their "
      .. "number: as long as the herd stays together, exponential backoff makes the very same calls as a "
      .. "fixed delay, only later, and while everybody waits the server has nothing to do. Jitter parts the "
      .. "herd: some come while others wait, and find a slot that is free. The server is busy all the time, "
      .. "and calls grow far more slowly, for as long as the delays span the time that it needs for all.",
    alternatives = {
      { name = "Fixed delay",
        effect = "The most calls, which cost this server little: it refuses for next to nothing. Where that "
          .. "costs (TLS, a login), this is the storm. For a handful of clients it does." },
      { name = "Exponential without jitter",
        effect = "Waits most and saves least. There is no N for which it is the one to take." },
      { name = "Equal jitter",
        effect = "Half the delay is certain: nobody comes back at once, which is what a server that fails "
          .. "slowly needs. Calls as few as with full jitter." },
      { name = "Full jitter",
        effect = "The one to take unless something speaks against it: the widest spread for a given cap, and "
          .. "nothing to remember but the number of attempts." },
      { name = "Decorrelated jitter",
        effect = "Never below the base and quick to grow, so the fewest calls; where few clients collide the "
          .. "last one waits longer than it would have to." },
      { name = "A larger cap, or a window for the first attempt",
        effect = "When there are more clients than the server takes within the cap, jitter alone is not "
          .. "enough: they have to be spread over clients / capacity (wsb reconnect_storm)." },
    },
  },
}
