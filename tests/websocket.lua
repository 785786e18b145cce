-- A WebSocket client that does only what it is told: it can send any bytes, cut anywhere, and it can stop
-- reading, which is when the kernel's buffers and then the server's queue fill up.

local child = require "child"
local uv = require "luv"

local websocket = {}

---Opcodes by name.
websocket.CONTINUATION, websocket.TEXT, websocket.BINARY = 0x0, 0x1, 0x2
websocket.CLOSE, websocket.PING, websocket.PONG = 0x8, 0x9, 0xA

---The key of the RFC's own example, and what a server has to answer to it.
websocket.KEY, websocket.ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

-- libuv lets a write to a connection that was reset raise SIGPIPE, which would end the test.
local broken_pipe = uv.new_signal()
broken_pipe:start("sigpipe", function() end)
broken_pipe:unref()

local TIMEOUT_S = 10
local MASK = "\x37\xfa\x21\x3d"

---@class websocket.Frame
---@field fin boolean
---@field rsv integer
---@field opcode integer
---@field masked boolean
---@field payload string
---@field size integer  bytes on the wire, header included

---@class websocket.Client
---@field port integer  of this end
---@field server_port integer
---@field over string?  once nothing more can come: "end", "reset" or another error
---@field private tcp userdata
---@field private buffer string
local Client = { __name = "websocket.Client" }
Client.__index = Client

---The row of /proc/net/tcp for one end of a connection.
---@param from integer  its port
---@param to integer  that of the far end
---@return {state: integer, out: integer, into: integer}?  out, into: bytes in its send and receive queue
function websocket.tcp_row(from, to)
  for line in io.lines "/proc/net/tcp" do
    local a, b, state, out, into = line:match "^%s*%d+: %x+:(%x+) %x+:(%x+) (%x+) (%x+):(%x+)"
    if a and tonumber(a, 16) == from and tonumber(b, 16) == to then
      return { state = tonumber(state, 16), out = tonumber(out, 16), into = tonumber(into, 16) }
    end
  end
end

---@param payload string
---@param mask string  four bytes
---@return string
function websocket.mask(payload, mask)
  local key = ("<I4"):unpack(mask)
  local padded = payload .. ("\0"):rep(-#payload % 4)
  local function turn(four) return ("<I4"):pack(("<I4"):unpack(four) ~ key) end
  return (padded:gsub("....", turn):sub(1, #payload))
end

---A frame as bytes, masked unless told otherwise.
---@param opcode integer
---@param payload? string
---@param how? {fin: boolean?, rsv: integer?, mask: string|false|nil, length: integer?}  length: announced
---@return string
function websocket.frame(opcode, payload, how)
  payload, how = payload or "", how or {}
  local length = how.length or #payload
  local mask = how.mask == nil and MASK or how.mask
  local first = (how.fin == false and 0 or 0x80) | (how.rsv or 0) << 4 | opcode
  local bit = mask and 0x80 or 0
  local head
  if length < 126 then head = ("BB"):pack(first, bit | length)
  elseif length < 65536 then head = (">BBI2"):pack(first, bit | 126, length)
  else head = (">BBI8"):pack(first, bit | 127, length)
  end
  if not mask then return head .. payload end
  return head .. mask .. websocket.mask(payload, mask)
end

---The request of an opening handshake. `changes` replaces headers by name; false leaves one out.
---@param target string
---@param changes? table<string, string|false>
---@return string
function websocket.request(target, changes)
  local headers = { { "Host", "test" }, { "Upgrade", "websocket" }, { "Connection", "Upgrade" },
    { "Sec-WebSocket-Key", websocket.KEY }, { "Sec-WebSocket-Version", "13" } }
  local lines = { ("GET %s HTTP/1.1\r\n"):format(target) }
  for _, header in ipairs(headers) do
    local value = changes and changes[header[1]]
    if value == nil then value = header[2] end
    if value then lines[#lines + 1] = ("%s: %s\r\n"):format(header[1], value) end
  end
  return table.concat(lines) .. "\r\n"
end

---@param port integer
---@param options? {receive_buffer: integer?, source: string?}  source: the address of this end
---@return websocket.Client  connected, no byte sent
function websocket.connect(port, options)
  local tcp = uv.new_tcp("inet")
  local buffer = options and options.receive_buffer
  if buffer then assert(uv.recv_buffer_size(tcp, buffer)) end
  if options and options.source then assert(tcp:bind(options.source, 0)) end
  local done, err
  assert(tcp:connect("127.0.0.1", port, function(e) done, err = true, e end))
  child.pump(function() return done end, TIMEOUT_S)
  if err or not done then
    tcp:close()
    error(("connect to port %d: %s"):format(port, err or "timeout"), 2)
  end
  return setmetatable({ tcp = tcp, buffer = "", port = tcp:getsockname().port, server_port = port }, Client)
end

---Sends bytes as they are, in one piece.
---@param bytes string
---@return boolean? ok
---@return string? error
function Client:send(bytes)
  local done, err
  local request, why = self.tcp:write(bytes, function(e) done, err = true, e end)
  if not request then return nil, why end
  if not child.pump(function() return done end, TIMEOUT_S) then return nil, "timeout" end
  return not err, err
end

---Sends bytes and does not wait for the kernel to take them, nor mind when it does not.
---@param bytes string
function Client:throw(bytes)
  if not self.tcp:is_closing() then self.tcp:write(bytes) end
end

-- libuv tells a reset as an end of stream when bytes came before it. The kernel forgets the connection after
-- the one, and waits for us to close after the other.
local function how_it_ended(self, err)
  if err and err ~= "ECONNRESET" then return err end
  return websocket.tcp_row(self.port, self.server_port) and "end" or "reset"
end

-- Lets bytes in until `enough()`; they are read only while somebody waits for them.
local function fill(self, enough, timeout)
  if enough() or self.over then return enough() end
  self.tcp:read_start(function(err, data)
    if data then self.buffer = self.buffer .. data else self.over = how_it_ended(self, err) end
  end)
  child.pump(function() return self.over or enough() end, timeout or TIMEOUT_S)
  self.tcp:read_stop()
  return enough()
end

---@param size integer
---@param timeout? number  seconds, default 10
---@return string? bytes
---@return string? why  "timeout", "end", "reset"
function Client:read(size, timeout)
  if not fill(self, function() return #self.buffer >= size end, timeout) then
    return nil, self.over or "timeout"
  end
  local bytes = self.buffer:sub(1, size)
  self.buffer = self.buffer:sub(size + 1)
  return bytes
end

---The head of the answer to a request, up to the blank line.
---@return string head
---@return integer status
function Client:read_head()
  local function at() return self.buffer:find("\r\n\r\n", 1, true) end
  if not fill(self, at) then error(("no HTTP head: %s"):format(self.over or "timeout"), 2) end
  local head = self:read(at() + 3)
  return head, tonumber(head:match "^HTTP/1%.1 (%d%d%d) ")
end

---Waits for the end of the stream and returns what came before it.
---@param timeout? number
---@return string bytes
---@return string how  "end", "reset" or "timeout"
function Client:read_all(timeout)
  fill(self, function() return false end, timeout)
  local bytes = self.buffer
  self.buffer = ""
  return bytes, self.over or "timeout"
end

---@param timeout? number
---@return websocket.Frame?
---@return string? why
function Client:read_frame(timeout)
  local head, why = self:read(2, timeout)
  if not head then return nil, why end
  local first, second = head:byte(1, 2)
  local masked, length = second & 0x80 ~= 0, second & 0x7F
  local more = (length == 127 and 8 or length == 126 and 2 or 0) + (masked and 4 or 0)
  local rest = more > 0 and self:read(more, timeout) or ""
  if length == 126 then length = (">I2"):unpack(rest)
  elseif length == 127 then length = (">I8"):unpack(rest)
  end
  local payload
  payload, why = self:read(length, timeout)
  if not payload then return nil, why end
  if masked then payload = websocket.mask(payload, rest:sub(-4)) end
  return { fin = first & 0x80 ~= 0, rsv = first >> 4 & 7, opcode = first & 0xF, masked = masked,
    payload = payload, size = 2 + more + length }
end

---The next frame, of which it makes sure that it is a whole unmasked one of that kind.
---@param opcode integer
---@return string payload
function Client:expect(opcode)
  local frame, why = self:read_frame()
  if not frame then error(("no frame: %s"):format(why), 2) end
  if frame.opcode ~= opcode or not frame.fin or frame.rsv ~= 0 or frame.masked then
    error(("a frame with opcode %d, fin %s, rsv %d, masked %s: %q"):format(frame.opcode, frame.fin, frame.rsv,
      frame.masked, frame.payload:sub(1, 60)), 2)
  end
  return frame.payload
end

---Reads up to and with the Close frame; what came before it is passed to `each`.
---@param each? fun(frame: websocket.Frame)
---@return integer code  1005 when it holds none
---@return string reason
function Client:expect_close(each)
  while true do
    local frame, why = self:read_frame()
    if not frame then error(("no Close frame: %s"):format(why), 2) end
    if frame.opcode == websocket.CLOSE then
      if frame.payload == "" then return 1005, "" end
      return (">I2"):unpack(frame.payload), frame.payload:sub(3)
    end
    if each then each(frame) end
  end
end

---@param text string
function Client:send_text(text)
  return self:send(websocket.frame(websocket.TEXT, text))
end

---@param code? integer
---@param reason? string
function Client:send_close(code, reason)
  return self:send(websocket.frame(websocket.CLOSE, code and (">I2"):pack(code) .. (reason or "")))
end

---Makes sure that what was sent before has been handled and that nothing else has come. Twice: a pong may
---overtake what is queued when its ping is read.
function Client:round_trip()
  for _ = 1, 2 do
    assert(self:send(websocket.frame(websocket.PING, "round trip")))
    assert(self:expect(websocket.PONG) == "round trip")
  end
end

---Ends our side of the stream; the other can still be read.
function Client:shut()
  local done
  self.tcp:shutdown(function() done = true end)
  child.pump(function() return done end, TIMEOUT_S)
end

---Ends the connection with a reset. Idempotent, as is close.
function Client:reset()
  if not self.tcp:is_closing() then self.tcp:close_reset() end
  uv.run "nowait"
end

function Client:close()
  if not self.tcp:is_closing() then self.tcp:close() end
  uv.run "nowait"
end

return websocket
