-- A WebSocket broadcast server: each message of a client goes to all other subscribers of its path.

local wsb = require "wsb"

local options = wsb.server_options { rename = { feed_rate = "feed" } }

return {
  name = "serve",
  description = "A WebSocket broadcast server, until it is interrupted.",
  categories = { "safe" },
  options = options,
  run = function(ctx)
    local server = ctx:serve(wsb.server_values(options, ctx.opt))
    io.stdout:write("wsb: serving ", server.url, "\n")
    io.stdout:flush()
    ctx:until_signal()
    server:stop()
  end,
}
