-- A WebSocket client that does only what it is told, for scripts: `ctx:dial`. It can send any bytes, cut
-- anywhere, and says what came back. It raises nothing for what a server does; every wait has a deadline.

local core = require "wsb.core"
local task = require "wsb.base.task"

local raw = {}

---Opcodes by name.
raw.CONTINUATION, raw.TEXT, raw.BINARY, raw.CLOSE, raw.PING, raw.PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

local KEY = "dGhlIHNhbXBsZSBub25jZQ==" -- the RFC's own example
local MASK = "\x37\xfa\x21\x3d"
local TIMEOUT_S = 3

---@class wsb.RawFrame
---@field fin boolean
---@field rsv integer
---@field opcode integer
---@field masked boolean
---@field payload string

---@class wsb.Raw
---@field host string
---@field path string
---@field private dial wsb.Dial
---@field private buffer string
---@field private trouble string?  why nothing can come: it could not connect
local Raw = { __name = "wsb.Raw" }
Raw.__index = Raw

local PORTS = { ws = 80, wss = 443 }

---The parts of ws://HOST:PORT/PATH or wss://; nil when it is none.
---@param url string
---@return string? host
---@return integer? port
---@return string? path
---@return boolean? secure  wss
function raw.parse(url)
  local scheme, authority = url:match "^(wss?)://(.*)$"
  if not scheme then return nil end
  local host, rest = authority:match "^%[([%x:]+)%](.*)$"
  if not host then host, rest = authority:match "^([^/:?#]+)(.*)$" end
  if not host then return nil end
  local port, path = rest:match "^:(%d+)(.*)$"
  port, path = math.tointeger(tonumber(port or PORTS[scheme])), path or rest
  if not port or port < 1 or port > 65535 or path:find "[%s#]" or (path ~= "" and path:sub(1, 1) ~= "/") then
    return nil
  end
  return host, port, path == "" and "/" or path, scheme == "wss"
end

local function masked(payload)
  local key = ("<I4"):unpack(MASK)
  local padded = payload .. ("\0"):rep(-#payload % 4)
  local function turn(four) return ("<I4"):pack(("<I4"):unpack(four) ~ key) end
  return (padded:gsub("....", turn):sub(1, #payload))
end

---A client's frame as bytes.
---@param opcode integer
---@param payload? string
---@param how? {fin: boolean?, rsv: integer?, mask: boolean?, length: integer?}  length: the one announced
---@return string
function raw.frame(opcode, payload, how)
  payload, how = payload or "", how or {}
  local length = how.length or #payload
  local first = (how.fin == false and 0 or 0x80) | (how.rsv or 0) << 4 | opcode
  local bit = how.mask == false and 0 or 0x80
  local head
  if length < 126 then
    head = ("BB"):pack(first, bit | length)
  elseif length < 65536 then
    head = (">BBI2"):pack(first, bit | 126, length)
  else
    head = (">BBI8"):pack(first, bit | 127, length)
  end
  return how.mask == false and head .. payload or head .. MASK .. masked(payload)
end

-- What is not the end of a connection.
local GOING_ON = { connecting = true, securing = true, open = true }

-- Connects; that it could not is found out by who reads.
---@param host string
---@param port integer
---@param path string
---@param tls? wsb.Tls  plain TCP when missing
---@return wsb.Raw
---@async
function raw.connect(host, port, path, tls)
  local name = host:find(":", 1, true) and ("[%s]"):format(host) or host
  local self = setmetatable({ host = ("%s:%d"):format(name, port), path = path, buffer = "" }, Raw)
  local dial, why = core.dial(host, port, tls)
  if not dial then
    self.trouble = why
    return self
  end
  self.dial = dial
  task.wait(function()
    local state = dial:state()
    return state == "open" or not GOING_ON[state]
  end, TIMEOUT_S)
  return self
end

-- Lets bytes in until `enough()` says something true, which is returned.
local function fill(self, enough, timeout)
  if self.trouble then return nil, self.trouble end
  local over, why
  local found = task.wait(function()
    self.buffer = self.buffer .. self.dial:take()
    over, why = self.dial:state()
    return enough() or not GOING_ON[over] and "over"
  end, timeout or TIMEOUT_S)
  if found and found ~= "over" then return found end
  return nil, found and (why or over) or "timeout"
end

---Sends bytes as they are.
---@param bytes string
---@return boolean  false when the connection is gone
function Raw:send(bytes)
  return not self.trouble and self.dial:send(bytes)
end

---@param opcode integer
---@param payload? string
---@param how? {fin: boolean?, rsv: integer?, mask: boolean?, length: integer?}
---@return boolean
function Raw:send_frame(opcode, payload, how)
  return self:send(raw.frame(opcode, payload, how))
end

---@param size integer
---@param timeout? number  seconds, 3 when missing
---@return string? bytes
---@return string? why  timeout, end, reset, or why it could not connect
---@async
function Raw:read(size, timeout)
  local enough, why = fill(self, function() return #self.buffer >= size end, timeout)
  if not enough then return nil, why end
  local bytes = self.buffer:sub(1, size)
  self.buffer = self.buffer:sub(size + 1)
  return bytes
end

---Waits for the head of an answer.
---@param timeout? number
---@return integer? status
---@return string head_or_why
---@async
function Raw:read_head(timeout)
  local function head_stop() return select(2, self.buffer:find("\r\n\r\n", 1, true)) end
  local stop, why = fill(self, head_stop, timeout)
  if not stop then return nil, why end
  local head = self.buffer:sub(1, stop)
  self.buffer = self.buffer:sub(stop + 1)
  local status = head:match "^HTTP/1%.[01] (%d%d%d)[ \r]"
  if not status then return nil, "no HTTP" end
  return math.tointeger(tonumber(status)), head
end

---The opening handshake as bytes. `changes` replaces headers by name, adds others, and leaves out what is
---false; "method" and "version" of the first line can be given too.
---@param changes? table<string, string|false>
---@param path? string
---@return string
function Raw:upgrade(changes, path)
  local rest = {}
  for name, value in pairs(changes or {}) do
    rest[name] = value
  end
  local method, version = rest.method or "GET", rest.version or "HTTP/1.1"
  rest.method, rest.version = nil, nil
  local lines = { ("%s %s %s"):format(method, path or self.path, version) }
  for _, header in ipairs { { "Host", self.host }, { "Upgrade", "websocket" }, { "Connection", "Upgrade" },
    { "Sec-WebSocket-Key", KEY }, { "Sec-WebSocket-Version", "13" } } do
    local name, value = header[1], rest[header[1]]
    if value == nil then value = header[2] end
    rest[name] = nil
    if value then table.insert(lines, ("%s: %s"):format(name, value)) end
  end
  for name, value in pairs(rest) do
    if value then table.insert(lines, ("%s: %s"):format(name, value)) end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

---Sends the opening handshake and waits for the answer.
---@param changes? table<string, string|false>
---@param path? string
---@return integer? status
---@return string head_or_why
---@async
function Raw:request(changes, path)
  self:send(self:upgrade(changes, path))
  return self:read_head()
end

-- Suites from before and after TLS 1.2, so that a server can agree to whichever version it takes.
local SUITES = "\xC0\x2B\xC0\x2F\xC0\x2C\xC0\x30\xC0\x09\xC0\x13\xC0\x0A\xC0\x14\x00\x9C\x00\x2F\x00\x35"
local GROUPS = "\0\x1D\0\x17\0\x18"
local SIGNATURES = "\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x02\x03\x02\x01"

---A ClientHello as bytes, of a client that speaks no newer TLS than 1.`minor`, which is 0 to 2: OpenSSL
---itself does not offer what is out of date.
---@param minor integer
---@param name? string  that is asked for (SNI)
---@return string
function Raw.hello(_, minor, name)
  local function extension(number, body) return (">I2s2"):pack(number, body) end
  local extensions = extension(10, (">s2"):pack(GROUPS)) .. extension(11, "\1\0")
    .. extension(13, (">s2"):pack(SIGNATURES))
  if name then extensions = extension(0, (">s2"):pack(("\0" .. (">s2"):pack(name)))) .. extensions end
  local body = ("\3" .. string.char(minor + 1)) .. ("wsb "):rep(8) .. "\0" .. (">s2"):pack(SUITES) .. "\1\0"
    .. (">s2"):pack(extensions)
  return "\x16\3\1" .. (">s2"):pack("\1" .. (">I3"):pack(#body) .. body)
end

local ALERTS = { [10] = "unexpected message", [40] = "handshake failure", [47] = "illegal parameter",
  [50] = "decode error", [70] = "protocol version", [71] = "insufficient security", [80] = "internal error",
  [112] = "unrecognized name" }

---What a server says to bytes of TLS: "TLS 1.2" when it agrees to that, "alert: protocol version" and the
---like, the status when it speaks HTTP.
---@param timeout? number
---@return string? answer
---@return string? why
---@async
function Raw:read_hello(timeout)
  local found, why = fill(self, function() return #self.buffer >= 7 end, timeout)
  if not found then return nil, why end
  local kind, first, second = self.buffer:byte(1), self.buffer:byte(6, 7)
  if kind == 21 then return "alert: " .. (ALERTS[second] or tostring(second)) end
  if kind == 22 and first == 2 then
    if not fill(self, function() return #self.buffer >= 11 end, timeout) then return nil, "timeout" end
    return ("TLS 1.%d"):format(self.buffer:byte(11) - 1)
  end
  local status, trouble = self:read_head(timeout)
  return status and tostring(status), trouble
end

-- Head and payload of the frame at the front of the buffer, when all of it is there.
local function whole_frame(buffer)
  if #buffer < 2 then return nil end
  local first, second = buffer:byte(1, 2)
  local has_mask, length, at = second & 0x80 ~= 0, second & 0x7F, 3
  local size = length == 127 and 8 or length == 126 and 2 or 0
  if #buffer < 2 + size then return nil end
  if size > 0 then length, at = (">I" .. size):unpack(buffer, 3) end
  if has_mask then at = at + 4 end
  if #buffer - at + 1 < length then return nil end
  return { fin = first & 0x80 ~= 0, rsv = first >> 4 & 7, opcode = first & 0xF, masked = has_mask,
    payload = buffer:sub(at, at + length - 1) }, at + length
end

---@param timeout? number
---@return wsb.RawFrame?
---@return string? why
---@async
function Raw:read_frame(timeout)
  local frame, after
  local found, why = fill(self, function()
    frame, after = whole_frame(self.buffer)
    return frame ~= nil
  end, timeout)
  if not found then return nil, why end
  self.buffer = self.buffer:sub(after)
  return frame
end

---Waits for a frame of that kind; the others before it are left out.
---@param opcode integer
---@param timeout? number  for all of them
---@return string? payload
---@return string? why  also "Close CODE", when that came first
---@async
function Raw:expect(opcode, timeout)
  local deadline = core.now() + (timeout or TIMEOUT_S)
  while true do
    local frame, why = self:read_frame(math.max(0, deadline - core.now()))
    if not frame then return nil, why end
    if frame.opcode == opcode then return frame.payload end
    if frame.opcode == raw.CLOSE then
      return nil, "Close " .. (#frame.payload < 2 and "without a code" or (">I2"):unpack(frame.payload))
    end
  end
end

---Waits for the Close frame; what comes before it is left out.
---@param timeout? number
---@return integer? code  1005 when it holds none
---@return string reason_or_why
---@async
function Raw:expect_close(timeout)
  local payload, why = self:expect(raw.CLOSE, timeout)
  if not payload then return nil, why end
  if #payload < 2 then return 1005, "" end
  return (">I2"):unpack(payload), payload:sub(3)
end

---Waits until the far end has left, whatever comes before.
---@param timeout? number
---@return "end"|"reset"|"timeout"|string how
---@async
function Raw:expect_end(timeout)
  local _, why = fill(self, function() self.buffer = "" end, timeout)
  return why
end

---Whether its TLS handshake resumed a session.
---@return boolean
function Raw:resumed()
  return self.dial ~= nil and self.dial:resumed()
end

---Idempotent.
function Raw:close()
  if self.dial then self.dial:close() end
end

return raw
