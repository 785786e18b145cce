-- How much goes through Redis. Three topics are published at one server and heard at another, ever faster,
-- through a single Redis and through a cluster of three, where each node has one of the topics.

local TOPICS = { "/red", "/green", "/blue" } -- in a cluster of three, one on each node

local LEAST_S = 0.05 -- the kernel counts processor time in steps of 10 ms

local function channel(topic)
  return ("wsb:{%s}"):format(topic)
end

local function joined(redis)
  for _, topic in ipairs(TOPICS) do
    if redis:subscribers(channel(topic)) < 2 then return false end
  end
  return true
end

-- Processor time of each node so far.
local function used(redis)
  local list = {}
  for i, node in ipairs(redis.nodes) do
    local sample = node.program.worker:sample()
    list[i] = sample.user + sample.system
  end
  return list
end

-- Of the node that has had the most to do since; nil when it is too little to be told.
local function busiest(redis, before)
  local most = 0
  for i, seconds in ipairs(used(redis)) do
    most = math.max(most, seconds - before[i])
  end
  return most >= LEAST_S and most or nil
end

local function used_by(server)
  local sample = server.process.worker:sample()
  return sample.user + sample.system
end

local function url(server, topic)
  return ("ws://127.0.0.1:%d%s"):format(server.port, topic)
end

local function sum(groups, name)
  local total = 0
  for _, group in ipairs(groups) do
    total = total + group:counts()[name]
  end
  return total
end

-- A subscriber and a publisher of each topic. Publishers are cohorts, so that all begin at once.
local function connect(ctx, rate, first, second)
  local heard, said = {}, {}
  for i, topic in ipairs(TOPICS) do
    heard[i] = ctx:clients { cohort = "at" .. topic:gsub("/", "-"), n = 1, url = url(second, topic) }
    said[i] = ctx:clients { cohort = "from" .. topic:gsub("/", "-"), n = 1, url = url(first, topic),
      publish_rate = rate / #TOPICS, publish_size = ctx.opt.size, publish_duration = ctx.opt.duration }
  end
  return heard, said
end

local function measure(ctx, rate)
  local redis = ctx:redis { cluster = ctx.arm == "cluster" and 3 or nil }
  local function serve(name)
    return ctx:serve { name = name, redis = redis.url, redis_sharded = ctx.arm == "cluster" }
  end
  local first, second = serve "first", serve "second"
  local heard, said = connect(ctx, rate, first, second)
  if not ctx:wait(function() return joined(redis) end, "10s") then
    table.insert(ctx.doubts, "not every server has subscribed")
  end
  local before = { redis = used(redis), first = used_by(first), second = used_by(second) }
  ctx:start()
  ctx:sleep(ctx.opt.duration)
  ctx:sleep(ctx.opt.grace)
  local duration, redis_s = ctx.opt.duration, busiest(redis, before.redis)
  local due = math.max(rate * duration, sum(said, "publish_offered")) -- a schedule has whole messages
  return { delivered = sum(heard, "messages_received") / due, offered = sum(said, "publish_sent") / due,
    redis = redis_s and redis_s / duration, publisher = (used_by(first) - before.first) / duration,
    subscriber = (used_by(second) - before.second) / duration,
    unstored = first:counts().relay_unstored, missed = second:counts().relay_missed }
end

local function expect(results)
  local list = {}
  for _, arm in ipairs(results.arms) do
    local share, held = results:median(arm, results.least, "delivered"), nil
    if share then held = share >= 0.99 end
    table.insert(list, { held = held, text = ("%s delivers %s of the lowest rate, 99 %% expected"):format(arm,
      results:format(arm, results.least, "delivered")) })
  end
  local where = results.points[math.min(2, #results.points)]
  table.insert(list, results:less("redis", "cluster", "one", where))
  return list
end

return {
  name = "fanout-saturation",
  description = "Ever more messages through Redis: one of it, and a cluster with sharded channels.",
  categories = { "self-hosted", "redis" },

  options = {
    rates = { "messages a second, all topics together, comma-separated", "10000,30000,100000,200000,300000" },
    size = { "payload of each", "128B" },
    duration = { "length of the schedule", "2s" },
    grace = { "time in which the last of them may still arrive", "1s" },
  },

  over = { name = "rate", label = "messages a second", values = "$rates", log = true },
  arms = { { name = "one" }, { name = "cluster" } },
  measure = measure,

  columns = {
    { name = "delivered", label = "delivered in time", unit = "ratio", better = "higher" },
    { name = "offered", label = "sent by the generator", unit = "ratio" },
    { name = "redis", label = "processor time of the busiest node", unit = "ratio", better = "lower" },
    { name = "publisher", label = "processor time of the publisher's server", unit = "ratio" },
    { name = "subscriber", label = "processor time of the other server", unit = "ratio" },
    { name = "unstored", label = "not taken by Redis", unit = "count", better = "lower" },
    { name = "missed", label = "lost on the way, and told", unit = "count", better = "lower" },
  },

  charts = {
    { title = "Delivered in time", column = "delivered" },
    { title = "Processor time of the busiest node", column = "redis" },
  },

  expect = expect,

  claim = "At the lowest rate everything arrives, and with sharded channels the busiest node of a cluster "
    .. "has less to do than a single Redis.",

  writeup = {
    lever = "Sharded channels (redis_sharded) on a cluster, where topics are spread over the nodes.",
    why = "Plain PUBLISH on a cluster goes to every node, so a further node brings nothing; SPUBLISH goes to "
      .. "the one that has the channel's slot. A single topic is always on one node. The rate at which less "
      .. "than 99 % arrives in time is that of the whole machine: servers, Redis and generator share its "
      .. "cores, and the columns of processor time say which of them had the most to do.",
    alternatives = {
      { name = "A larger Redis", effect = "It runs commands on one core: faster only as that core is." },
      { name = "Several messages in one", effect = "Fewer commands for the same content, and later." },
    },
  },
}
