-- A WebSocket broadcast server: each message of a client goes to all other subscribers of its path.

local wsb = require "wsb"

local SIGHUP = 1 -- rereads the certificate of a server that has one

local options = wsb.server_options { rename = { feed_rate = "feed" } }

return {
  name = "serve",
  description = "A WebSocket broadcast server, until it is interrupted.",
  categories = { "safe" },
  options = options,
  run = function(ctx)
    if ctx.given.on_overflow and ctx.opt.high_water_mark == 0 then
      io.stderr:write("wsb: --on-overflow has no effect while --high-water-mark is 0, which is no mark\n")
    end
    local server = ctx:serve(wsb.server_values(options, ctx.opt))
    io.stdout:write("wsb: serving ", server.url, "\n")
    io.stdout:flush()
    local signal = ctx:until_signal()
    while signal == SIGHUP and ctx.opt.tls ~= "" do
      local why = server:reload()
      io.stderr:write("wsb: ", why and "the old certificate stays: " .. why or "certificate read", "\n")
      signal = ctx:until_signal()
    end
    server:stop()
  end,
}
