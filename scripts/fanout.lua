-- Two servers, subscribers at both, a publisher at each. Alone, a server reaches its own subscribers only;
-- joined by a Redis, what is published at one reaches those of all, in the order of each publisher, once.

local wsb = require "wsb"

local PATH = "/feed"

-- A publisher at the first server, counted by `same` and `other`; another at the last, counted by the rest.
local function connect(ctx)
  local opt, first, last = ctx.opt, ctx.servers[1], ctx.servers[#ctx.servers]
  local function subscribers(cohort, server, publisher)
    ctx:clients { cohort = cohort, n = opt.clients, url = server.url, counted_publisher = publisher }
  end
  subscribers("same", first, 1)
  for i = 2, #ctx.servers do
    subscribers(i == 2 and "other" or "other-" .. i, ctx.servers[i], 1)
  end
  subscribers("same-back", last, 2)
  subscribers("other-back", first, 2)
  -- A subscriber as well, like every client.
  ctx:clients { cohort = "second-publisher", n = 1, url = last.url, publisher = 2, publish_rate = opt.rate,
    publish_size = opt.size, publish_duration = opt.duration }
end

-- Who has not subscribed yet gets nothing, and nobody would have lost it.
local function await_joined(ctx)
  local redis = ctx.redises[1]
  if not redis then return end
  local channel = ("%s:{%s}"):format(redis.prefix, PATH)
  if not ctx:wait(function() return redis:subscribers(channel) >= #ctx.servers end, "5s") then
    table.insert(ctx.doubts, "not every server has subscribed to " .. channel)
  end
end

local function busy(ctx)
  local seconds = 0
  for _, server in ipairs(ctx.servers) do
    local sample = server.process.worker:sample()
    seconds = seconds + (sample and sample.user + sample.system or 0)
  end
  return seconds
end

local function delivered(ctx)
  local messages = 0
  for _, server in ipairs(ctx.servers) do
    messages = messages + server:counts().deliveries_queued
  end
  return messages
end

-- What a delivery costs the servers, and a message Redis.
local function record_costs(ctx, before)
  local deliveries = delivered(ctx) - before.delivered
  if deliveries > 0 then
    ctx:record("microseconds_of_server_a_delivery", (busy(ctx) - before.busy) * 1e6 / deliveries)
  end
  local redis = ctx.redises[1]
  if redis and redis.private_one then
    ctx:record("redis_processor_percent", 100 * (redis:cpu() - before.redis) / ctx.opt.duration)
  end
end

return {
  name = "fanout",
  description = "Subscribers of two servers: one Redis makes them one audience.",
  categories = { "self-hosted", "redis" },

  options = {
    redis = { "URL of a Redis to use; a private one when empty", "" },
    cluster = { "nodes of the private Redis, 3 or more; 0 is no cluster", 0 },
    sharded = { "publish with SPUBLISH", false },
    servers = { "servers, at least 2", 2 },
    clients = { "subscribers of each cohort", 50 },
    rate = { "messages of each publisher", "100/s" },
    size = { "payload of each", "256B" },
    duration = { "length of the schedule", "5s" },
    within = { "most lag of 99 % at the other server", "100ms" },
  },

  arms = {
    { name = "alone" },
    { name = "redis", server = { redis = function(ctx) return ctx.redises[1].url end,
      redis_prefix = function(ctx) return ctx.redises[1].prefix end, redis_sharded = "$sharded" } },
  },

  setup = function(ctx)
    local nodes, servers = math.tointeger(ctx.opt.cluster), math.tointeger(ctx.opt.servers)
    if nodes == 1 or nodes == 2 then
      wsb.usage("--cluster: '%d' is not accepted: give 3 or more, or 0 for none", nodes)
    elseif servers < 2 then
      wsb.usage("--servers: '%d' is not accepted: give 2 or more", servers)
    end
    if ctx.arm == "redis" then ctx:redis { cluster = nodes > 0 and nodes or nil } end
    for i = 1, servers do
      ctx:serve { name = "server-" .. i, path = PATH }
    end
  end,

  workload = function(ctx)
    local opt, redis = ctx.opt, ctx.redises[1]
    connect(ctx)
    await_joined(ctx)
    local before = { busy = busy(ctx), delivered = delivered(ctx),
      redis = redis and redis.private_one and redis:cpu() }
    local publisher = ctx:publish { rate = opt.rate, size = opt.size, duration = opt.duration }
    ctx:wait(function() return publisher:finished() end)
    record_costs(ctx, before)
  end,

  thresholds = {
    alone = { expect = "fail", ["delivered{cohort:other}"] = { "ratio>=100%" } },
    redis = { expect = "pass", delivered = { "ratio>=100%" }, messages_reordered = { "<1" },
      messages_duplicate = { "<1" }, messages_corrupt = { "<1" }, relay_missed = { "<1" },
      ["fanout_lag{cohort:other}"] = { "p(99)<$within" } },
  },

  columns = { "delivered{cohort:same}.ratio", "delivered{cohort:other}.ratio",
    "delivered{cohort:same-back}.ratio", "delivered{cohort:other-back}.ratio",
    "fanout_lag{cohort:same}.p(50)", "fanout_lag{cohort:other}.p(50)", "fanout_lag{cohort:same}.p(99)",
    "fanout_lag{cohort:other}.p(99)", "messages_reordered", "messages_duplicate",
    "recorded{name:microseconds_of_server_a_delivery}", "recorded{name:redis_processor_percent}" },
  compare = { "delivered{cohort:same}.ratio", "delivered{cohort:other}.ratio",
    "fanout_lag{cohort:same}.p(50)", "fanout_lag{cohort:same}.p(99)", "fanout_lag{cohort:other}.p(50)",
    "fanout_lag{cohort:other}.p(99)", "messages_reordered",
    "recorded{name:microseconds_of_server_a_delivery}" },

  charts = {
    { title = "Messages received a second, at the publisher's server",
      series = "messages_received{cohort:same}.rate" },
    { title = "Messages received a second, at the other server",
      series = "messages_received{cohort:other}.rate" },
    { title = "Messages that came through Redis a second", series = "relay_received.rate" },
    { title = "Processor time of the servers, together", series = "cpu", unit = "ratio" },
  },

  claim = "Joined by a Redis, $servers servers are one: every message of both publishers reaches every "
    .. "subscriber of each, in order and once, 99 % within $within.",

  writeup = {
    lever = "Redis pub/sub between the servers: each publishes what its clients send, and subscribes to what "
      .. "its own clients listen to.",
    why = "One message to Redis serves any number of subscribers behind a server, so what passes through "
      .. "Redis grows with servers and not with clients. Local delivery does not wait for it: the same "
      .. "server's subscribers get a message as early as without Redis, and also when Redis is away "
      .. "(wsb fanout_failure). What it costs is the way to Redis and back for those of other servers.",
    alternatives = {
      { name = "Every server connected to every other",
        effect = "No machine between, but connections and copies grow with the square of the servers, and "
          .. "each has to know all others." },
      { name = "All subscribers of a topic at one server", effect = "Needs nothing between, and the topic "
        .. "can then be no larger than one server." },
      { name = "Redis Streams, read by every server", effect = "What was missed can be read later; costs "
        .. "memory of Redis (the server's history option has that)." },
    },
  },
}
