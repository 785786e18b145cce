-- What another server brings: subscribers that it holds, and what a delivery costs when each message comes to
-- it through Redis.

local PATH, CHANNEL = "/feed", "wsb:{/feed}"
local LEAST_S = 0.05 -- the kernel counts processor time in steps of 10 ms

local function busy(ctx)
  local seconds = 0
  for _, server in ipairs(ctx.servers) do
    local sample = server.process.worker:sample()
    seconds = seconds + sample.user + sample.system
  end
  return seconds
end

local function sum(groups, name)
  local total = 0
  for _, group in ipairs(groups) do
    total = total + group:counts()[name]
  end
  return total
end

-- One publisher, at the first server.
local function measure(ctx, servers)
  local opt, redis = ctx.opt, ctx:redis()
  for i = 1, servers do
    ctx:serve { name = "server-" .. i, path = PATH, redis = redis.url }
    ctx:clients { cohort = "at-" .. i, n = opt.clients, url = ctx.servers[i].url }
  end
  if not ctx:wait(function() return redis:subscribers(CHANNEL) == servers end, "5s") then
    table.insert(ctx.doubts, "not every server has subscribed")
  end
  local cpu, redis_cpu = busy(ctx), redis:cpu()
  local publisher = ctx:publish { rate = opt.rate, size = opt.size, duration = opt.duration }
  ctx:wait(function() return publisher:finished() end)
  local offered = publisher:counts().publish_offered * opt.clients * servers
  ctx:wait(function() return sum(ctx.cohorts, "messages_received") >= offered end, "2s")
  local received, used = sum(ctx.cohorts, "messages_received"), busy(ctx) - cpu
  local redis_used = redis:cpu() - redis_cpu
  return { subscribers = sum(ctx.cohorts, "clients_open"), delivered = received / offered,
    cost = received > 0 and used >= LEAST_S and used / received or nil,
    redis = redis_used >= LEAST_S and redis_used / opt.duration or nil,
    lag = ctx.cohorts[servers]:hist("fanout_lag"):percentile(99) }
end

local function expect(results)
  local list = {}
  for _, servers in ipairs(results.points) do
    local share, held = results:median("redis", servers, "delivered"), nil
    if share then held = share >= 1 end
    table.insert(list, { held = held, text = ("%d servers: %s delivered, all expected"):format(servers,
      results:format("redis", servers, "delivered")) })
  end
  local one = results:median("redis", results.least, "cost")
  local many = results:median("redis", results.most, "cost")
  local held
  if one and many and results.most > results.least then held = many < 2 * one end
  table.insert(list, { held = held, text = ("a delivery costs %s at %d servers, less than twice the %s at %d")
    :format(results:format("redis", results.most, "cost"), results.most,
      results:format("redis", results.least, "cost"), results.least) })
  return list
end

return {
  name = "fanout-scale",
  description = "One, two and four servers behind a Redis: subscribers held, and the cost of a delivery.",
  categories = { "self-hosted", "redis" },

  options = {
    servers = { "how many, comma-separated", "1,2,4" },
    clients = { "subscribers of each", 200 },
    rate = { "messages published", "50/s" },
    size = { "payload of each", "256B" },
    duration = { "length of the schedule", "3s" },
  },

  over = { name = "servers", label = "servers", values = "$servers" },
  arms = { { name = "redis" } },
  measure = measure,

  columns = {
    { name = "subscribers", label = "subscribers held", unit = "count", better = "higher" },
    { name = "delivered", label = "delivered", unit = "ratio", better = "higher" },
    { name = "cost", label = "server's processor time of a delivery", unit = "seconds", better = "lower" },
    { name = "redis", label = "processor time of Redis", unit = "ratio", better = "lower" },
    { name = "lag", label = "lag p99 at the last server", unit = "seconds", better = "lower" },
  },

  charts = {
    { title = "Server's processor time of a delivery", column = "cost" },
    { title = "Lag p99 at the last server", column = "lag" },
  },

  expect = expect,

  claim = "Each further server holds as many subscribers more, and a delivery costs less than twice what it "
    .. "costs at a single one.",

  writeup = {
    lever = "More servers behind one Redis.",
    why = "A message crosses Redis once for each server, whatever the number of subscribers behind it, and "
      .. "every server reads it once for all of them. So what a delivery costs stays that of one server, "
      .. "plus a share of one message that shrinks with the subscribers of a server. All servers here are on "
      .. "one machine and share its cores: the subscribers add up, the throughput does not.",
    alternatives = {
      { name = "One larger server", effect = "No way through Redis, and an end at one core of it." },
    },
  },
}
