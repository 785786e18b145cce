-- What the rows of scripts/guards.lua do to a server that speaks TLS, and who can be asked so.

local ask = require "wsb.guards.ask"
local raw = require "wsb.load.raw"

local tls = {}

-- Of wsb's own server, its key with it: { path }; nil without the openssl program.
local certificate

---Host of the server that is asked, and whether it speaks TLS.
function tls.address(ctx)
  local host, _, _, secure = raw.parse(ctx.target or ctx.server.url)
  return host, secure
end

---Rows of TLS, and what else has to be there for them.
function tls.over_tls(more)
  return function(ctx)
    if not select(2, tls.address(ctx)) then return "the server is asked by ws://" end
    return more and more(ctx)
  end
end

---The file of certificates that a client trusts; "" is the system's.
function tls.ca_of(ctx)
  return ctx.target and ctx.opt.tls_ca or certificate and certificate.path or ""
end

---Why no client can verify its certificate.
function tls.not_verified(ctx)
  if ctx.target and not ctx.opt.tls_verify then return "its certificate is not to be verified" end
  if not ctx.target and not certificate then return "the openssl program is not there to make one" end
end

---Why there is no client that does not trust it.
function tls.trusted_by_all(ctx)
  return tls.not_verified(ctx) or tls.ca_of(ctx) == "" and "trusted by the system: no --tls-ca" or nil
end

local function remove(made)
  os.remove(made.path)
end

---Makes a certificate for this machine with its key, in a file that is gone when wsb is; another one, in the
---same file, the next time.
---@return string? path  nil without the openssl program
function tls.make_certificate()
  local made = certificate or setmetatable({ path = os.tmpname() }, { __gc = remove })
  local command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    .. "-subj /CN=guards -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout '%s' -out '%s' 2>/dev/null"
  if not os.execute(command:format(made.path, made.path)) then return nil end
  certificate = made
  return made.path
end

---How this run's clients speak TLS, but for `changes`.
---@return wsb.Tls
function tls.context(ctx, changes)
  local options = { name = tls.address(ctx), ca = tls.ca_of(ctx), verify = not tls.not_verified(ctx) }
  for name, value in pairs(changes or {}) do
    options[name] = value
  end
  return ctx:tls(options)
end

-- The server may refuse a name as well, before its certificate is looked at.
local function refusal(why)
  if why:find "unrecognized name" then return "refused: its name" end
  local reason = why:match "^certificate verify failed: (.*)$"
  if not reason then return ask.gone(why) end
  if reason:find "mismatch" then return "refused: its name" end
  local unknown = reason:find "self.signed" or reason:find "^unable to get"
  return unknown and "refused: not trusted" or "refused: " .. reason
end

local function upgrade_by(ctx, how)
  local status, why = ctx:dial(nil, { tls = how }):request(ask.credentials(ctx))
  return status and tostring(status) or refusal(why)
end

---An upgrade over TLS as it is, but for `changes`.
function tls.upgrade_with(changes)
  return function(ctx) return upgrade_by(ctx, tls.context(ctx, changes)) end
end

---What is said to bytes that TLS did not make.
function tls.without_tls(make)
  return function(ctx)
    local client = ctx:dial(nil, { tls = false })
    client:send(make(ctx, client))
    local said, why = client:read_hello()
    -- Which alert it is, others may choose.
    if ctx.target and said and said:find "^alert" then return "alert" end
    return said or ask.kept(why)
  end
end

---A ClientHello of TLS 1.`minor`, or the first `part` of it.
function tls.hello(minor, part)
  return function(ctx, client)
    local host = tls.address(ctx)
    local bytes_of = client:hello(minor, not host:find "^[%d.:]+$" and host or nil)
    return bytes_of:sub(1, math.ceil(#bytes_of * (part or 1)))
  end
end

---What becomes of a client that sends these bytes, or none, and no more.
function tls.wait_without_tls(make)
  return function(ctx, patience)
    local client = ctx:dial(nil, { tls = false })
    if make then client:send(make(ctx, client)) end
    return ask.kept(client:expect_end(patience))
  end
end

---Whether a second connection goes on with the session of a first.
function tls.resumed(ctx)
  local both = tls.context(ctx)
  local first = upgrade_by(ctx, both)
  if first ~= "101" then return first end
  local client = ctx:dial(nil, { tls = both })
  local status, why = client:request(ask.credentials(ctx))
  if status ~= 101 then return ask.answer(status, why) end
  return client:resumed() and "resumed" or "not resumed"
end

---Resuming is no duty: why a target is not asked for it.
function tls.no_ticket(ctx)
  if ctx.server then return end
  local came = tls.resumed(ctx)
  ctx:hang_up()
  if came == "not resumed" then return "the server hands out no tickets" end
end

---The old certificate is tried without a ticket, with which none would be shown.
function tls.read_again(ctx)
  local old = tls.context(ctx, { resume = false })
  if not tls.make_certificate() then return "openssl made no certificate" end
  local why = ctx.server:reload()
  if why then return why end
  ctx.secure = tls.context(ctx)
  local before, now = upgrade_by(ctx, old), upgrade_by(ctx, ctx.secure)
  if before ~= "refused: not trusted" then return "the old one: " .. before end
  if now ~= "101" then return "the new one: " .. now end
  return ("new, %d connected"):format(ctx.cohorts[1]:counts().clients_open)
end

return tls
