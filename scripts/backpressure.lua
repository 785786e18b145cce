-- Clients that stop reading make a broadcast server queue without limit until its memory limit kills it. The
-- fix is a high-water mark on every connection's queue. Both arms get the identical load, and differ in the
-- mark alone.

local wsb = require "wsb"

return {
  name = "backpressure",
  description = "Slow consumers exhaust a server's memory; a high-water mark per connection bounds it.",
  categories = { "self-hosted" },

  options = {
    clients = { "subscribers that read", 200 },
    stalled = { "subscribers that stop reading", 50 },
    rate = { "messages published", "100/s" },
    size = { "payload of each", "8KiB" },
    duration = { "length of the load", "20s" },
    stall_after = { "when the stalled stop reading", "2s" },
    mark = { "high-water mark per connection of the fixed arm", "256KiB" },
    memory_limit = { "memory limit of the server", "256MiB" },
    queue = { "whether a message waits once or once per subscriber", "copy", choices = { "shared", "copy" } },
  },

  arms = {
    { name = "before", server = { high_water_mark = 0 } },
    { name = "after", server = { high_water_mark = "$mark" } },
  },

  target = "after",

  -- A copy per subscriber is what most servers make. The kernel's send buffer is set, because a default one
  -- hides 4 MB per stalled reader where the server's own memory does not show it. A client counts as slow
  -- early, so that those show which the mark evicts within a second.
  setup = function(ctx)
    ctx:serve {
      memory_limit = ctx.opt.memory_limit, queue = ctx.opt.queue, send_buffer = "64KiB", slow_after = "100ms",
    }
  end,

  steady_state = {
    { "a published message reaches a subscriber", function(ctx) return ctx:probe "2s" end },
  },

  workload = function(ctx)
    local opt = ctx.opt
    ctx:clients { cohort = "healthy", n = opt.clients }
    if opt.stalled > 0 then
      ctx:clients { cohort = "stalled", n = opt.stalled, receive_buffer = "4KiB",
        faults = { { type = "stall", after = opt.stall_after } } }
    end
    ctx:publish { rate = opt.rate, size = opt.size, duration = opt.duration }
  end,

  thresholds = {
    before = { expect = "fail", server_memory = { "max<$memory_limit" } },
    after = {
      expect = "pass",
      server_memory = { "max<96MiB", "flatness<10%" },
      slow_clients = { "last<1" },
      ["fanout_lag{cohort:healthy}"] = { "p(99)<100ms" },
      ["delivered{cohort:healthy}"] = { "ratio>=1" },
    },
  },

  columns = { "queue_bytes.max", "server_memory.max", "slow_clients.max", "slow_clients.last",
    "evictions_mark", "fanout_lag{cohort:healthy}.p(99)", "delivered{cohort:healthy}.ratio" },
  compare = { "server_memory.max", "queue_bytes.max", "fanout_lag{cohort:healthy}.p(99)",
    "delivered{cohort:healthy}.ratio", "slow_clients.last", "evictions_mark", "cpu.mean" },

  charts = {
    { title = "Server memory: rss and kernel socket memory", series = "server_memory", unit = "bytes" },
    { title = "Bytes queued for all clients", series = "queue_bytes", unit = "bytes",
      lines = function(opt)
        local label = ("%d × %s"):format(opt.stalled, wsb.format("size", opt.mark))
        return { { value = opt.stalled * opt.mark, label = label } }
      end },
    { title = "Fan-out lag of the healthy, p99 of each interval", series = "fanout_lag_p99", unit = "seconds",
      log = true },
    { title = "Slow clients", series = "slow_clients", unit = "count" },
    { title = "Messages the healthy have received", series = "received{cohort:healthy}", unit = "count" },
  },

  claim = "A high-water mark of $mark per connection keeps the server alive and its memory flat under the "
    .. "load that kills it without.",

  writeup = {
    lever = "A high-water mark on each connection's queue, with eviction (close code 1013) above it.",
    why = "The server dies because a queue that nobody drains grows by the whole broadcast: stalled clients "
      .. "x rate x size bytes a second, for as long as they stay. The mark is the one change that bounds it "
      .. "where it arises: the bytes queued cannot exceed connections x mark, whatever the rate or how long "
      .. "clients stall. It costs a comparison per delivery and needs no agreement with "
      .. "the clients; the healthy do not notice it, because their queues are empty.",
    alternatives = {
      { name = "More memory",
        effect = "Postpones the death in proportion and changes nothing else: the growth has no end." },
      { name = "One shared copy of each message",
        effect = "Divides the growth by the number of stalled clients, but one of them is enough to keep "
          .. "every message in memory. With --queue shared the death comes later in that proportion: it "
          .. "takes a longer --duration to see it." },
      { name = "Dropping messages above the mark",
        effect = "Bounds memory just as well and keeps the client, which then has gaps: right for telemetry, "
          .. "wrong for a feed that is a history (on_overflow = drop-oldest)." },
      { name = "Ping timeouts",
        effect = "Find clients that are gone, not those that answer pings and read nothing else, and only "
          .. "after the timeout: until then the queue grows at the full rate." },
      { name = "Larger socket buffers",
        effect = "Move the same bytes into the kernel, where the server's own figures no longer show them." },
      { name = "A budget for the whole process",
        effect = "The right second line (queue_budget): it bounds the sum, but alone it acts only once the "
          .. "stalled have taken all of it." },
    },
  },
}
