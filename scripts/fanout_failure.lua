-- What happens to two servers joined by a Redis when it, a link to it or a server fails. A publisher at the
-- first server, subscribers at both. Every row has servers and a Redis of its own, and accounts for every
-- message: it arrived, or its loss was told, or the row fails.

local core = require "wsb.core"

local PATH, CHANNEL = "/feed", "wsb:{/feed}"
local HISTORY = 100000
local MiB = 1024 * 1024
local MOST_GROWTH, MOST_PENDING = 24 * MiB, 8 * MiB

local scenes = 0

-- Redis, two servers, subscribers, and a load that goes on until `finish`.
local function stage(ctx, how)
  scenes = scenes + 1
  local opt, s = ctx.opt, { ctx = ctx, how = how, n = ctx.opt.clients }
  local function named(name) return ("%s-%d"):format(name, scenes) end
  s.redis = ctx:redis { output_buffer = how.output_buffer }
  local function serve(name)
    return ctx:serve { name = named(name), path = PATH, redis = s.redis.url,
      history = how.history and HISTORY or 0 }
  end
  local function subscribers(name, server, n, publisher)
    return ctx:clients { cohort = named(name), n = n, url = server.url, counted_publisher = publisher,
      resume = how.history or false, reconnect = "fixed", reconnect_base = "200ms" }
  end
  s.first, s.second = serve "first", serve "second"
  s.home, s.away = subscribers("home", s.first, s.n, 1), subscribers("away", s.second, s.n, 1)
  s.away_burst = subscribers("away-burst", s.second, 1, 2)
  if not ctx:wait(function() return s.redis:subscribers(CHANNEL) == 2 end, "5s") then return nil end
  s.publisher = ctx:publish { url = s.first.url, rate = how.full and opt.full_rate or opt.rate,
    size = how.full and opt.full_size or opt.size, duration = "1h" }
  ctx:sleep "500ms"
  s.links = s.second:counts().redis_links_up
  s.rss = { s.first.process.worker:sample().rss, s.second.process.worker:sample().rss }
  return s
end

local function count(group, name)
  return group:counts()[name]
end

-- Messages of the burst, which go through the same link and are counted beside the others.
local function burst(s)
  s.burst = s.ctx:clients { cohort = ("burst-%d"):format(scenes), n = 1, url = s.first.url, publisher = 2,
    publish_rate = "1000/s", publish_size = "64KiB", publish_duration = "30ms",
    resume = s.how.history or false }
  s.ctx:wait(function() return s.burst:finished() end, "5s")
end

-- Every figure of a client's is the mean of its cohort, where all have the same.
local function account(s)
  local sent = s.burst and count(s.burst, "publish_sent") or 0
  local published = count(s.first, "messages_published") - sent
  local home, away = s.home:counts(), s.away:counts()
  local burst_lost = sent - count(s.away_burst, "messages_received")
  return { published = published, home_lost = published - home.messages_received / s.n,
    away_lost = published - away.messages_received / s.n + burst_lost, told = away.gaps_told / s.n,
    missed = count(s.second, "relay_missed"), unknown = count(s.first, "relay_unknown"),
    refused = away.recoveries_refused / s.n,
    odd = home.messages_duplicate + away.messages_duplicate + home.messages_reordered
      + away.messages_reordered + home.messages_corrupt + away.messages_corrupt }
end

-- Lets the load end, waits until it is accounted for, and then for what should not come any more.
local function finish(s, settled)
  s.ctx:sleep "500ms"
  s.publisher:stop()
  s.ctx:wait(function() return settled(account(s)) end, "10s")
  s.ctx:sleep "500ms"
  local facts = account(s)
  local function growth(server, before) return server.process.worker:sample().peak - before end
  facts.growth = s.how.restarts and 0
    or math.max(growth(s.first, s.rss[1]), growth(s.second, s.rss[2]))
  for _, group in ipairs { s.home, s.away, s.away_burst, s.publisher, s.burst } do
    group:close()
  end
  for _, server in ipairs { s.first, s.second } do
    server:kill()
  end
  s.redis:close()
  return facts
end

-- Does harm that takes a while, and looks whether those at the publisher's own server go on getting its
-- messages meanwhile.
local function hurt(s, inflict)
  local before, from = count(s.home, "messages_received"), count(s.first, "messages_published")
  inflict()
  local published = (count(s.first, "messages_published") - from) * s.n
  s.meanwhile = published > 0 and (count(s.home, "messages_received") - before) / published or 1
end

-- Pauses, and watches what the servers hold back for Redis, and whether they notice that it is silent.
local function watch(s, seconds)
  local from = core.now()
  s.pending = s.pending or 0
  s.ctx:wait(function()
    for _, server in ipairs { s.first, s.second } do
      s.pending = math.max(s.pending, count(server, "redis_pending_bytes"))
    end
    local noticed = count(s.first, "redis_links_up") < s.links and count(s.second, "redis_links_up") < s.links
    if noticed and not s.noticed then s.noticed = core.now() - from end
    return core.now() - from >= seconds
  end)
end

-- Seconds until messages arrive at the second server again; nil when they do not.
local function await_back(s, reconnects)
  local from, received = core.now(), count(s.away, "messages_received")
  local back = s.ctx:wait(function()
    local second = s.second:counts()
    return second.redis_links_up >= s.links and second.redis_reconnects >= reconnects
      and count(s.first, "redis_links_up") >= s.links and count(s.away, "messages_received") > received
  end, "15s")
  s.back = back and core.now() - from
end

-- What speaks against a run, whatever was done to it.
local function complaints(s, facts)
  local list = {}
  local function complain(holds, format, ...)
    if not holds then table.insert(list, format:format(...)) end
  end
  complain(s.back, "not back within 15 s")
  complain((s.meanwhile or 1) >= 0.9, "only %.0f %% locally meanwhile", 100 * (s.meanwhile or 0))
  complain(facts.odd == 0, "%d messages twice, late or damaged", facts.odd)
  complain(facts.growth <= MOST_GROWTH, "memory grew by %s", core.format("size", facts.growth))
  complain((s.pending or 0) <= MOST_PENDING, "%s held back", core.format("size", s.pending or 0))
  return list, complain
end

local function share(facts)
  return ("local %.4g %%"):format(100 * (1 - facts.home_lost / facts.published))
end

-- Losses have to be told, to each client and in the counters, neither more nor less.
local function losses_told(s)
  local facts = finish(s, function(a) return a.home_lost == 0 and a.away_lost == a.told end)
  local list, complain = complaints(s, facts)
  complain(facts.home_lost == 0, "%.6g lost locally", facts.home_lost)
  complain(facts.away_lost == facts.told and facts.told == facts.missed, "%.6g lost, %.6g told, %d counted",
    facts.away_lost, facts.told, facts.missed)
  return list, ("%s, back after %.1f s, %.6g of %d lost and told"):format(share(facts), s.back or 0,
    facts.away_lost, facts.published), facts
end

local function nothing_lost(s)
  local facts = finish(s, function(a) return a.home_lost == 0 and a.away_lost == 0 end)
  local list, complain = complaints(s, facts)
  complain(facts.home_lost == 0 and facts.away_lost == 0 and facts.told == 0,
    "%.6g lost locally, %.6g at the other, %.6g told", facts.home_lost, facts.away_lost, facts.told)
  return list, ("none of %d lost at either"):format(facts.published), facts
end

local DOES = {}

function DOES.killed(s)
  hurt(s, function()
    s.redis:kill()
    watch(s, s.ctx.opt.outage)
  end)
  s.redis:restart()
  await_back(s, 1)
  return losses_told(s)
end

local function stand_still(s, seconds)
  hurt(s, function()
    s.redis:pause()
    watch(s, seconds)
  end)
  s.redis:resume()
end

function DOES.paused(s)
  stand_still(s, 8)
  await_back(s, 1)
  local list, text = losses_told(s)
  if not s.noticed then table.insert(list, "nobody noticed within 8 s") end
  return list, ("noticed after %.1f s, %s"):format(s.noticed or 0, text)
end

function DOES.slow(s)
  hurt(s, function()
    for _ = 1, 8 do
      s.redis:pause()
      watch(s, 0.3)
      s.redis:resume()
      watch(s, 0.1)
    end
  end)
  await_back(s, 0)
  return nothing_lost(s)
end

function DOES.cut_off(s)
  burst(s)
  await_back(s, 1)
  return losses_told(s)
end

function DOES.link_killed(s)
  s.redis:command("CLIENT", "KILL", "TYPE", "pubsub")
  await_back(s, 1)
  return losses_told(s)
end

function DOES.away(s)
  stand_still(s, s.ctx.opt.away)
  await_back(s, 1)
  local list, text, facts = losses_told(s)
  return list, ("memory grew by %s, %s"):format(core.format("size", facts.growth), text)
end

local function restart_second(s)
  hurt(s, function()
    s.second:kill()
    s.ctx:sleep(s.ctx.opt.outage)
  end)
  s.second:restart()
  await_back(s, 0)
  if not s.ctx:await_open(s.away, 1, "10s") then s.back = nil end
end

function DOES.server_killed(s)
  restart_second(s)
  local facts = finish(s, function(a) return a.home_lost == 0 end)
  local list, complain = complaints(s, facts)
  complain(facts.home_lost == 0, "%.6g lost at the first", facts.home_lost)
  return list, ("none of %d lost at the first, the second's came back after %.1f s and missed %.0f")
    :format(facts.published, s.back or 0, facts.away_lost), facts
end

local WITH_HISTORY = {}

function WITH_HISTORY.link_killed(s)
  s.redis:command("CLIENT", "KILL", "TYPE", "pubsub")
  await_back(s, 1)
  return nothing_lost(s)
end

function WITH_HISTORY.cut_off(s)
  burst(s)
  await_back(s, 1)
  return nothing_lost(s)
end

function WITH_HISTORY.server_killed(s)
  restart_second(s)
  return nothing_lost(s)
end

-- Messages that Redis has taken from the first server and not brought back to it.
local function unheard(s)
  return count(s.first, "relay_published") - count(s.first, "relay_received")
end

-- What was on its way when the link was lost, in either direction, is neither here nor there; all else is
-- delivered locally.
function WITH_HISTORY.killed(s)
  local gone
  hurt(s, function()
    local before = unheard(s)
    s.redis:kill()
    watch(s, s.ctx.opt.outage)
    gone = math.max(0, unheard(s) - before)
  end)
  s.redis:restart()
  await_back(s, 1)
  local function may_be_lost(facts) return facts.unknown + gone end
  local facts = finish(s, function(a) return a.home_lost <= may_be_lost(a) and a.refused >= 1 end)
  local list, complain = complaints(s, facts)
  complain(facts.home_lost <= may_be_lost(facts), "%.6g lost locally, %d were on their way", facts.home_lost,
    may_be_lost(facts))
  complain(facts.refused >= 1, "clients were not told that they lost their place")
  return list, ("%s, back after %.1f s, %.6g of %d lost, all clients told"):format(share(facts), s.back or 0,
    facts.away_lost, facts.published), facts
end

-- Whether the command line asks for the row.
local function unless(name)
  return function(ctx)
    local asked = ctx.opt.only == ""
    for word in ctx.opt.only:gmatch "%s*([^,]+)" do
      asked = asked or name:find(word, 1, true) ~= nil
    end
    return not asked and "not asked for" or nil
  end
end

-- A row is its own judge: when nothing speaks against the run, the figures that came are accepted.
local function row(name, sent, expected, does, how)
  local accepted = { expected }
  return { name = name, sent = sent, expected = accepted, unless = unless(name), run = function(ctx)
    local s = stage(ctx, how)
    if not s then return "the servers did not subscribe within 5 s" end
    local against, came = does(s)
    if #against > 0 then return table.concat(against, "; ") end
    table.insert(accepted, came)
    return came
  end }
end

local TOLD = "local delivery goes on, the link comes back, every loss is told"
local FILLED = "nothing is lost"
local SMALL_BUFFER = "pubsub 16kb 0 0"

return {
  name = "fanout-failure",
  description = "Two servers whose Redis dies, stops, slows or cuts them off: what is lost, and told.",
  categories = { "self-hosted", "redis" },

  options = {
    clients = { "subscribers of each server", 10 },
    rate = { "messages published", "200/s" },
    size = { "payload of each", "256B" },
    outage = { "how long what is killed is away", "1s" },
    away = { "how long Redis stands still at the full rate", "10s" },
    full_rate = { "that rate", "1000/s" },
    full_size = { "payload of each of its messages", "4KiB" },
    only = { "rows to ask, by a part of their names, comma-separated; all when empty", "" },
  },

  setup = function() end,

  checks = {
    row("Redis killed, and back", "SIGKILL, started again", TOLD, DOES.killed, {}),
    row("Redis stands still", "SIGSTOP for 8 s", "noticed; " .. TOLD, DOES.paused, {}),
    row("Redis is slow", "eight times SIGSTOP for 0.3 s", FILLED, DOES.slow, {}),
    row("output buffer", "a burst of 30 times 64 KiB, client-output-buffer-limit 16 KiB", TOLD,
      DOES.cut_off, { output_buffer = SMALL_BUFFER }),
    row("subscriber link", "CLIENT KILL TYPE pubsub", TOLD, DOES.link_killed, {}),
    row("a server killed", "SIGKILL to the second, started again",
      "the first's clients miss nothing, the second's come back", DOES.server_killed, { restarts = true }),
    row("away at the full rate", "SIGSTOP for --away, at --full-rate",
      "memory stays bounded; " .. TOLD, DOES.away, { full = true }),
    row("history: subscriber link", "CLIENT KILL TYPE pubsub", FILLED, WITH_HISTORY.link_killed,
      { history = true }),
    row("history: output buffer", "a burst, as above", FILLED, WITH_HISTORY.cut_off,
      { history = true, output_buffer = SMALL_BUFFER }),
    row("history: a server killed", "SIGKILL to the second, started again", FILLED,
      WITH_HISTORY.server_killed, { history = true, restarts = true }),
    row("history: Redis killed, and back", "SIGKILL, started again: the history is gone",
      "local delivery goes on, all clients are told that they have lost their place", WITH_HISTORY.killed,
      { history = true }),
  },
}
