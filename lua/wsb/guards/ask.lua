-- What the rows of scripts/guards.lua share: the limits of the server that is asked, who comes in, and the
-- words for what comes back.

local ask = {}

ask.GRACE_S = 2.5 -- beyond a deadline, until it counts as not kept
local ALLOWED = "https://app.example"
local TOKEN, PROTOCOL = "guards-token", "guards.v1"
local MOST_CONNECTIONS = 200

-- Limits of the server that the script starts; those that BEFORE names hold for their own row only.
local OWN = { origin = ALLOWED, max_message = 64 * 1024, max_fragments = 16, max_headers = 32,
  max_head = 8 * 1024, subprotocol = PROTOCOL, max_per_address = 10, max_connections = 10, max_handshakes = 4,
  message_rate = 100, byte_rate = 64 * 1024, tls_timeout = 0.4, handshake_timeout = 0.4,
  message_timeout = 0.4, idle_timeout = 0.4, ping_timeout = 0.4, token = TOKEN, publish_token = TOKEN }
local BEFORE = { max_per_address = 0, max_connections = "1M", max_handshakes = 4096, message_rate = 0,
  byte_rate = 0, tls_timeout = "5s", handshake_timeout = "10s", message_timeout = "30s",
  idle_timeout = 0, ping_interval = "30s", ping_timeout = "30s", subscribe_token = "", publish_token = "" }

local REFUSED = { ["401"] = true, ["403"] = true, ["Close 1008"] = true }

local came_of = {} -- by the name of a row that others depend on

---The value that the server is said to have; nil when nobody said.
function ask.limit(ctx, name)
  local given = ctx.opt[name]
  if given ~= 0 and given ~= "" then return given end
  if not ctx.target then return OWN[name] end
end

---Why a row does not apply: nobody said the limit. Made for `unless`.
function ask.needs(name)
  return function(ctx)
    if not ask.limit(ctx, name) then
      return ("needs the server's limit: give --%s"):format((name:gsub("_", "-")))
    end
  end
end

---The same of a limit that takes so many connections to pass.
function ask.needs_connections(name)
  return function(ctx)
    local why = ask.needs(name)(ctx)
    if why then return why end
    if ask.limit(ctx, name) > MOST_CONNECTIONS then return "too many connections to try from here" end
  end
end

---Keeps what came, for rows that say something only when it was a refusal.
function ask.noted(name, run)
  return function(ctx)
    came_of[name] = run(ctx)
    return came_of[name]
  end
end

---Nothing is shown by a right token where a wrong one was not refused either.
function ask.after(name, limit_name)
  return function(ctx)
    local why = ask.needs(limit_name)(ctx)
    if why then return why end
    if not REFUSED[came_of[name]] then return ("'%s' was not refused"):format(name) end
  end
end

---On our own server only while `body` runs; somebody else's is as it is.
function ask.with(ctx, values, body)
  if not ctx.server then return body() end
  ctx.server:set(values)
  local came = body()
  local back = {}
  for name in pairs(values) do
    back[name] = BEFORE[name]
  end
  ctx.server:set(back)
  return came
end

---A status as text, or why there is none.
function ask.answer(status, why)
  return status and tostring(status) or why
end

---What lets a well-behaved client in.
function ask.credentials(ctx, changes)
  local headers = {}
  if ctx.opt.origin ~= "" then headers.Origin = ctx.opt.origin end
  if ctx.opt.token ~= "" and ctx.target then headers.Authorization = "Bearer " .. ctx.opt.token end
  for name, value in pairs(changes or {}) do
    headers[name] = value
  end
  return headers
end

---A WebSocket, or nil and what came instead; and the head.
function ask.join(ctx, changes)
  local client = ctx:dial()
  local status, head = client:request(ask.credentials(ctx, changes))
  if status ~= 101 then return nil, "no upgrade: " .. ask.answer(status, head) end
  return client, head
end

---How the far end left, in one word.
function ask.gone(why)
  return (why == "end" or why == "reset") and "dropped" or why
end

---The same of a connection that may also still be there.
function ask.kept(how)
  return how == "timeout" and "still open" or ask.gone(how)
end

---Tries it with patience for the deadline; `more` are options for the while.
function ask.deadline(name, act, more)
  return function(ctx)
    local values = { [name] = ask.limit(ctx, name) .. "s" }
    for option, value in pairs(more or {}) do
      values[option] = value
    end
    return ask.with(ctx, values, function() return act(ctx, ask.limit(ctx, name) + ask.GRACE_S) end)
  end
end

ask.ORIGIN, ask.TOKEN, ask.PROTOCOL = ALLOWED, TOKEN, PROTOCOL

return ask
