-- Clients whose connections are cut all the time, behind servers and a Redis that fail too: do they get every
-- message that was acknowledged, once and in order? Whatever was promised and whatever came is recorded, and
-- judged at the end.

local wsb = require "wsb"

local KEPT_WHEN_TRIMMED = 8 -- messages
local TRIM_EVERY_S = 0.05
local OVERLAP = 3 -- messages that a client may not have noted that it has them
local CALM_S = 0.5 -- without a message, in the quiet at the end
local STATES = { "connecting", "upgrading", "replaying", "mid-frame", "open", "waiting" }
local OF_CLIENTS = "no-dedup"

local function serve(ctx)
  local opt = ctx.opt
  local bug = opt.seeded_bug ~= OF_CLIENTS and opt.seeded_bug or "none"
  local redis = ctx:redis()
  for i = 1, opt.servers do
    ctx:serve { name = i > 1 and "server-" .. i or nil, redis = redis.url, redis_prefix = redis.prefix,
      history = opt.history, testing_bug = bug }
  end
end

-- Where the swarm writes what it sends and gets.
local function record_of(ctx, name)
  return ctx:log(name .. "-history")
end

local function further_urls(ctx)
  local urls = {}
  for i = 2, #ctx.servers do
    urls[i - 1] = ctx.servers[i].url
  end
  return table.concat(urls, ",")
end

local function subscribe(ctx, name, n, options)
  local opt = ctx.opt
  local all = { cohort = name, n = n, servers = further_urls(ctx), record = record_of(ctx, name),
    connect_timeout = "2s", reconnect = "fixed", kill_until = 0.9 * opt.duration,
    testing_bug = opt.seeded_bug == OF_CLIENTS and OF_CLIENTS or "none" }
  for option, value in pairs(options) do
    all[option] = value
  end
  return ctx:clients(all)
end

local function publish(ctx)
  local opt = ctx.opt
  for i, server in ipairs(ctx.servers) do
    ctx:publish { url = server.url, publisher = i, acks = true, rate = opt.rate / #ctx.servers,
      size = opt.size, duration = opt.duration, reconnect = "fixed", reconnect_base = "100ms",
      record = record_of(ctx, "publisher-" .. i) }
  end
end

-- The streams of Redis, by whatever names.
local function streams(redis)
  local found = {}
  for _, key in ipairs(redis:command("KEYS", "*") or {}) do
    if redis:command("TYPE", key) == "stream" then table.insert(found, key) end
  end
  return found
end

-- The older part of the history goes, again and again: who comes back finds its place just gone, or not.
local function trim(ctx, seconds)
  local redis = ctx.redises[1]
  for _ = 1, math.ceil(seconds / TRIM_EVERY_S) do
    for _, key in ipairs(streams(redis)) do
      redis:command("XTRIM", key, "MAXLEN", KEPT_WHEN_TRIMMED)
    end
    ctx:sleep(TRIM_EVERY_S)
  end
end

-- What happens beside the cuts, each after a while of nothing else. The labels have to be short.
local FAULTS = {
  { "trimmed", function(ctx, seconds) trim(ctx, 2 * seconds) end },
  { "flushed", function(ctx, seconds)
    ctx.redises[1]:command "FLUSHALL"
    ctx:sleep(seconds / 10)
  end },
  { "server down", function(ctx, seconds)
    local last = ctx.servers[#ctx.servers]
    last:kill()
    ctx:sleep(seconds)
    last:restart()
  end },
  { "Redis down", function(ctx, seconds)
    ctx.redises[1]:kill()
    ctx:sleep(seconds)
    ctx.redises[1]:restart()
  end },
}

-- In parts of the schedule: the last one is for what the cuts have left.
local function hurt(ctx)
  local span = ctx.opt.duration / 12
  for _, fault in ipairs(FAULTS) do
    ctx:sleep(1.3 * span)
    ctx:fault(fault[1], function() fault[2](ctx, span) end)
  end
end

local function received(ctx)
  local bytes = 0
  for _, group in ipairs(ctx.cohorts) do
    bytes = bytes + group:counts().bytes_received
  end
  return bytes
end

local function all_are_in(ctx)
  for _, group in ipairs(ctx.cohorts) do
    if group:counts().clients_open < group.n then return false end
  end
  return true
end

-- No server is cut off from Redis, or reads what it missed: clients wait for theirs without a word.
local function all_are_there(ctx)
  for _, server in ipairs(ctx.servers) do
    if server:counts().relay_behind > 0 then return false end
  end
  return true
end

local function all_is_well(ctx)
  return all_are_in(ctx) and all_are_there(ctx)
end

-- Until every client is in, and nothing has come for a while: one that has not noticed yet that its server
-- died is in as well, so they have to be in before and after.
local function await_quiet(ctx)
  for _, publisher in ipairs(ctx.publishers) do
    ctx:wait(function() return publisher:finished() end)
  end
  ctx:say "waiting until all have caught up"
  local before
  repeat
    if not ctx:wait(function() return all_is_well(ctx) end, ctx.opt.patience) then
      table.insert(ctx.doubts, "not all came back in the quiet at the end")
      return
    end
    before = received(ctx)
    ctx:sleep(CALM_S)
  until received(ctx) == before and all_is_well(ctx)
end

-- Ends the swarms, which makes their records whole, and judges these.
local function judge(ctx)
  local sources = {}
  for i, publisher in ipairs(ctx.publishers) do
    publisher:stop()
    sources[i] = { path = record_of(ctx, "publisher-" .. i), publisher = i }
  end
  for _, group in ipairs(ctx.cohorts) do
    group:stop()
    table.insert(sources, { path = record_of(ctx, group.name) })
  end
  ctx:say "judging what was recorded"
  return wsb.check_history(sources), sources
end

local function record(ctx, report)
  local by_state, catch_up = report.kills_by_state, report.catch_up
  for class, count in pairs(report.violations) do
    ctx:record(class, count)
  end
  for _, name in ipairs { "kills", "reconnects", "replayed", "acknowledged", "owed", "excused" } do
    ctx:record(name, report[name])
  end
  for _, state in ipairs(STATES) do
    ctx:record("cut_" .. state:gsub("-", "_"), by_state[state] or 0)
  end
  for _, percent in ipairs { 50, 99 } do
    local took = wsb.percentile(catch_up, percent)
    if took and report.replayed > 0 then ctx:record(("ms_to_catch_up_p%d"):format(percent), took * 1e3) end
  end
end

-- A run in which too little happened shows nothing, however clean it is.
local function doubt(ctx, report)
  local opt = ctx.opt
  local wanted = 0.8 * opt.kill_rate * 0.9 * opt.duration
  local function unless(holds, format, ...)
    if not holds then table.insert(ctx.doubts, format:format(...)) end
  end
  unless(report.kills >= wanted, "only %d connections were cut, of %.0f", report.kills, wanted)
  unless(report.unplaced == 0, "%d clients were never told where they stand", report.unplaced)
  unless(report.acknowledged >= report.published / 2, "only %d of %d messages were acknowledged",
    report.acknowledged, report.published)
  unless(ctx.arm == "without" or report.replayed > 0, "nothing was replayed")
end

-- What was found, in words, beside the logs; records are kept where they show what should not be.
local function tell(ctx, report, sources)
  local file = assert(io.open(ctx:log "violations", "w"))
  for _, example in ipairs(report.examples) do
    file:write(("%s: %s\n"):format(example.class, example.text))
    if ctx.arm ~= "without" then print(("%s: %s"):format(example.class, example.text)) end
  end
  file:close()
  if ctx.opt.keep or ctx.arm ~= "without" and report.total > 0 then return end
  for _, source in ipairs(sources) do
    os.remove(source.path)
  end
end

local CLASSES = { "lost", "twice", "backwards", "forged", "renamed", "undeclared", "disordered" }

-- For each class of violation.
local function each_class(make)
  local list = {}
  for i, class in ipairs(CLASSES) do
    list[i] = make(("recorded{name:%s}"):format(class))
  end
  return list
end

local none_of_any = { expect = "pass" }
for _, metric in ipairs(each_class(function(metric) return metric end)) do
  none_of_any[metric] = { "<1" }
end

-- The columns: what was done, what came back, what went wrong.
local columns = { "recorded{name:kills}" }
for _, state in ipairs(STATES) do
  table.insert(columns, ("recorded{name:cut_%s}"):format((state:gsub("-", "_"))))
end
for _, metric in ipairs { "recorded{name:reconnects}", "recoveries", "recoveries_refused",
  "recorded{name:replayed}", "messages_deduplicated" } do
  table.insert(columns, metric)
end
for _, name in ipairs { "ms_to_catch_up_p50", "ms_to_catch_up_p99", "acknowledged", "owed", "excused" } do
  table.insert(columns, ("recorded{name:%s}"):format(name))
end
for _, metric in ipairs(each_class(function(metric) return metric end)) do
  table.insert(columns, metric)
end

return {
  name = "replay",
  description = "Connections cut all the time, Redis and servers failing: does what was acknowledged come?",
  categories = { "self-hosted", "redis" },

  options = {
    servers = { "servers behind the Redis, 1 to 4", 2 },
    clients = { "subscribers", 80 },
    slow = { "further ones that read slowly, and ask for a few messages that they have", 20 },
    slow_rate = { "how slowly", "64KiB/s", type = "byte_rate" },
    away = { "further ones that stay away longer than the history reaches", 10 },
    away_for = { "how long", "4s" },
    rate = { "messages published, at all servers together", "100/s" },
    size = { "payload of each", "256B" },
    duration = { "length of the schedule", "30s" },
    kill_rate = { "connections cut of the first two together", "85/s" },
    retry = { "longest delay of a subscriber that comes back", "300ms" },
    history = { "messages that are kept", 250 },
    patience = { "time for all to come back in the quiet at the end", "20s" },
    keep = { "keep the records, also of a run without a violation", false },
    seeded_bug = { "a fault on purpose, which has to be found", "none",
      choices = { "none", "listener-race", "trim-off-by-one", "no-dedup" } },
  },

  arms = {
    { name = "without", clients = { resume = false } },
    { name = "replay", clients = { resume = true } },
  },

  setup = function(ctx)
    if ctx.opt.servers < 1 or ctx.opt.servers > 4 then
      wsb.usage("--servers: '%d' is not accepted: give 1 to 4", ctx.opt.servers)
    end
    serve(ctx)
  end,

  workload = function(ctx)
    local opt = ctx.opt
    local cuts = opt.kill_rate / (opt.clients + opt.slow)
    subscribe(ctx, "herd", opt.clients, { kill_rate = cuts * opt.clients, reconnect_base = opt.retry,
      reconnect_jitter = "full" })
    if opt.slow > 0 then
      subscribe(ctx, "slow", opt.slow, { kill_rate = cuts * opt.slow, reconnect_base = opt.retry,
        reconnect_jitter = "full", read_rate = opt.slow_rate, receive_buffer = "8KiB",
        resume_overlap = OVERLAP })
    end
    if opt.away > 0 then
      subscribe(ctx, "away", opt.away, { kill_rate = opt.away / opt.away_for / 2,
        reconnect_base = opt.away_for })
    end
    publish(ctx)
    hurt(ctx)
    await_quiet(ctx)
    local report, sources = judge(ctx)
    record(ctx, report)
    doubt(ctx, report)
    tell(ctx, report, sources)
  end,

  thresholds = { without = { expect = "fail", ["recorded{name:lost}"] = { "<1" } }, replay = none_of_any },

  columns = columns,
  compare = { "recorded{name:lost}", "recorded{name:twice}", "recorded{name:backwards}",
    "recoveries", "recorded{name:replayed}", "recorded{name:kills}" },

  max_lateness = "2s", -- nothing of what is judged is a matter of time

  charts = {
    { title = "Subscribers connected", series = "clients_open" },
    { title = "Connections cut a second", series = "clients_killed.rate" },
    { title = "Messages received a second", series = "messages_received.rate" },
    { title = "Missed messages that came after all, a second", series = "messages_recovered.rate" },
    { title = "Recoveries refused a second", series = "recoveries_refused.rate" },
    { title = "Bytes queued for clients", series = "queue_bytes", unit = "bytes" },
  },

  claim = "With ids, a history of $history messages and clients that come back with the last id they have, "
    .. "no acknowledged message is lost, delivered twice or out of order, whatever is cut; what cannot be "
    .. "recovered is said.",

  writeup = {
    lever = "Clients remember the id of the last message and come back with ?since=. The server sends what "
      .. "was stored after it, then goes on live, or says that it cannot.",
    why = "TCP and WebSocket lose what is under way when a connection ends, and a server that only "
      .. "broadcasts has no one to send it to again. Three things close the hole. An acknowledgement that is "
      .. "given when the message is stored, so that a publisher knows what it can rely on. An id that grows "
      .. "by one, so that a client can say where it stands, and a gap can be seen. And a word about every "
      .. "return: recovered true, or recovered false and where it goes on, never silence. This is "
      .. "at-least-once delivery with de-duplication in the client: a message is sent again whenever it is "
      .. "not certain that the client has it, and the client drops every id that it has had. The application "
      .. "sees each message once, for as long as the client keeps its last id and is away no longer than "
      .. "the history reaches.",
    alternatives = {
      { name = "At most once", effect = "What the first arm is: simple, and everything published while a "
        .. "client is away is lost. Enough for what the next message makes obsolete." },
      { name = "An acknowledgement from every subscriber",
        effect = "The server would have to remember every client that may come back, and every message "
          .. "that one of them lacks. An id that the client remembers costs the server nothing." },
      { name = "A history in each server",
        effect = "Is gone with the server, and numbers mean something else at the next one." },
      { name = "A longer history", effect = "Moves the limit: who stays away longer is told so all the "
        .. "same. It has to reach over the longest absence that is to go unnoticed." },
    },
  },
}
