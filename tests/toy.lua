-- A server of a test's own that answers as it is told to, also wrongly.

local uv = require "luv"
local websocket = require "websocket"

local toy = {}

local function sha1(text)
  local h = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 }
  local function rol(x, n) return (x << n | x >> 32 - n) & 0xFFFFFFFF end
  local padded = text .. "\x80" .. ("\0"):rep(-(#text + 9) % 64) .. (">I8"):pack(#text * 8)
  for at = 1, #padded, 64 do
    local w = { (">I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4"):unpack(padded, at) }
    for i = 17, 80 do w[i] = rol(w[i - 3] ~ w[i - 8] ~ w[i - 14] ~ w[i - 16], 1) end
    local a, b, c, d, e = table.unpack(h)
    for i = 1, 80 do
      local f, k
      if i <= 20 then f, k = b & c | ~b & d, 0x5A827999
      elseif i <= 40 then f, k = b ~ c ~ d, 0x6ED9EBA1
      elseif i <= 60 then f, k = b & c | b & d | c & d, 0x8F1BBCDC
      else f, k = b ~ c ~ d, 0xCA62C1D6
      end
      a, b, c, d, e = (rol(a, 5) + (f & 0xFFFFFFFF) + e + k + w[i]) & 0xFFFFFFFF, a, rol(b, 30), c, d
    end
    for i, word in ipairs { a, b, c, d, e } do h[i] = (h[i] + word) & 0xFFFFFFFF end
  end
  return (">I4I4I4I4I4"):pack(table.unpack(h))
end

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local text = (bytes .. ("\0"):rep(-#bytes % 3)):gsub("...", function(three)
    local n = (">I3"):unpack(three)
    local four = ""
    for shift = 18, 0, -6 do
      local i = (n >> shift & 63) + 1
      four = four .. DIGITS:sub(i, i)
    end
    return four
  end)
  local padding = -#bytes % 3
  return text:sub(1, #text - padding) .. ("="):rep(padding)
end

local function accept_of(request)
  local key = request:match "Sec%-WebSocket%-Key: (%S+)"
  return base64(sha1(key .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
end

assert(base64(sha1(websocket.KEY .. "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) == websocket.ACCEPT)

---@param connection table
function toy.upgrade(connection)
  connection.tcp:write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    .. "Sec-WebSocket-Accept: %s\r\n\r\n"):format(accept_of(connection.request)))
end

---@param connection table
---@param headers? string
function toy.refuse(connection, headers)
  local status = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
  connection.tcp:write(status .. (headers or "") .. "\r\n")
end

---@param connection table
---@param code integer
---@param reason string
function toy.say_close(connection, code, reason)
  connection.tcp:write(websocket.frame(websocket.CLOSE, (">I2"):pack(code) .. reason, { mask = false }))
end

local function take_in(server, tcp, answer)
  local connection = { tcp = tcp, request = "" }
  server.connections = server.connections + 1
  tcp:read_start(function(err, data)
    if not data then
      local how = err or "end"
      server.ends[how] = (server.ends[how] or 0) + 1
      if not tcp:is_closing() then tcp:close() end
      if connection.left then connection.left() end
    elseif not connection.answered then
      connection.request = connection.request .. data
      if not connection.request:find("\r\n\r\n", 1, true) then return end
      connection.answered = true
      table.insert(server.requests, uv.hrtime() / 1e9)
      answer(connection, #server.requests)
    elseif connection.heard then
      connection.heard(data)
    end
  end)
end

---`answer` gets the n-th request, from 1. `connection.heard(bytes)` is called for what comes after it,
---`connection.left()` at the end.
---@param answer fun(connection: table, n: integer)
---@return {url: string, requests: number[], connections: integer, ends: table<string, integer>}
function toy.server(answer)
  local server = { requests = {}, connections = 0, ends = {}, tcp = uv.new_tcp() }
  assert(server.tcp:bind("127.0.0.1", 0))
  server.url = ("ws://127.0.0.1:%d/feed"):format(server.tcp:getsockname().port)
  assert(server.tcp:listen(64, function()
    local tcp = uv.new_tcp()
    server.tcp:accept(tcp)
    take_in(server, tcp, answer)
  end))
  return server
end

return toy
