-- A scenario of a user's own, with what the first experiment does not use: a fix that is switched on while
-- the server runs, readers that are slow, a drain at the end, a policy that drops, and a script that waits.
-- Runs alone.

local lab = require "lab"
local t = require "harness"

local SCRIPT = [[
local wsb = require "wsb"

local function messages_of(opt)
  return opt.rate * opt.duration
end

return {
  name = "keep-the-slow",
  description = "Dropping what a slow reader cannot take keeps it, where closing loses it.",
  categories = { "self-hosted" },
  options = {
    fast = { "readers that keep up", 5 },
    slow = { "readers that do not", 3 },
    rate = { "messages", "100/s" },
    duration = { "of the load", "3s" },
    mark = { "high-water mark, from one second on", "32KiB" },
    policy = { "of the second arm", "drop-oldest", choices = { "drop-oldest", "drop-newest" } },
  },
  arms = {
    { name = "close", server = { on_overflow = "close" } },
    { name = "drop", server = { on_overflow = "$policy" } },
  },
  setup = function(ctx)
    ctx:serve { path = "/ticks", high_water_mark = 0, send_buffer = "16KiB" }
  end,
  steady_state = {
    { "a message reaches a subscriber", function(ctx) return ctx:probe "2s" end },
  },
  workload = function(ctx)
    local opt = ctx.opt
    local fast = ctx:clients { cohort = "fast", n = opt.fast }
    ctx:clients { cohort = "slow", n = opt.slow, receive_buffer = "4KiB",
      faults = { { type = "slow", rate = "64KiB/s" } } }
    local publisher = ctx:publish { rate = opt.rate, size = "2KiB", duration = opt.duration }
    ctx:sleep "1s"
    print(ctx.arm, "queued", ctx.server:counts().queue_bytes > opt.mark)
    ctx.server:set { high_water_mark = opt.mark }
    ctx:wait(function() return publisher:finished() end, "20s")
    ctx:wait(function() return fast:counts().messages_received == messages_of(opt) * opt.fast end, "5s")
    print(ctx.arm, "queued", ctx.server:counts().queue_bytes > opt.slow * opt.mark)
    ctx.server:drain "100ms"
    print(ctx.arm, "alive", ctx.server:alive())
  end,
  thresholds = {
    close = { expect = "fail", evictions_mark = { "<1" } },
    drop = {
      expect = "pass",
      evictions_mark = { "<1" },
      deliveries_dropped = { ">0" },
      queue_bytes = { "last<=96KiB" },
      ["delivered{cohort:fast}"] = { "ratio==1" },
      ["delivered{cohort:slow}"] = { "ratio<100%", "ratio>20%" },
      ["fanout_lag{cohort:fast}"] = { "p(50)<100ms" },
      ["gaps_told{cohort:slow}"] = { ">0" },
      ["closes{code:1012}"] = { "sent>=9" },
      ["closes{code:1012,cohort:fast}"] = { "seen==$fast" },
    },
  },
  compare = { "delivered{cohort:slow}.ratio", "evictions_mark", "closes{code:1013}.sent" },
  claim = "$policy above $mark keeps all the slow, " .. wsb.format("size", 64 * 1024) .. " a second each",
}
]]

local PRINTED = "close\tqueued\ttrue\nclose\tqueued\tfalse\nclose\talive\tfalse\n"
  .. "drop\tqueued\ttrue\ndrop\tqueued\tfalse\ndrop\talive\tfalse\n"

local function write(dir)
  lab.write(dir .. "/mine.lua", SCRIPT)
  return dir
end

t.test("check accepts it and help shows its options", function()
  local dir = write(t.tmpdir())
  assert(lab.run(dir, { "check", "mine.lua" }).code == 0)
  local help = lab.run(dir, { "help", "./mine.lua" })
  assert(help.code == 0 and help.stdout:find("drop-oldest|drop-newest", 1, true))
  assert(help.stdout:find "Dropping what a slow reader cannot take")
end)

t.test("it is proven", function()
  local dir = write(t.tmpdir())
  local r = lab.run(dir, { "mine.lua", "--quiet", "--fast", "6", "--policy", "drop-newest" })
  assert(r.stdout:sub(1, #PRINTED) == PRINTED, "what the script prints")
  assert(r.code == 0, ("code %d"):format(r.code))
  local claim = "\nPROVEN  drop-newest above 32KiB keeps all the slow, 64 KiB a second each\n"
  assert(r.stdout:find(claim, 1, true), "the claim")
  local result = lab.result(dir, "keep-the-slow")
  local close, drop = result.arms[1], result.arms[2]
  assert(close.options.on_overflow == "close" and drop.options.on_overflow == "drop-newest")
  assert(close.runs[1].metrics.evictions_mark == 3 and drop.runs[1].metrics.evictions_mark == 0)
  assert(close.runs[1].outcome.kind == "alive" and drop.runs[1].outcome.kind == "alive")
  lab.nothing_left(r)
end)
