-- A server of a test's own: `wsb serve` on a free port, the clients that talk to it, and an end of both.

local t = require "harness"
local uv = require "luv"
local websocket = require "websocket"

local served = {}

local ESTABLISHED = 1 -- as /proc/net/tcp has it

---@class served.Server
---@field process child.Child
---@field port integer
---@field url string
---@field private clients websocket.Client[]
local Server = { __name = "served.Server" }
Server.__index = Server

---@param command string[]  what prints "serving ws://..."
---@return served.Server
function served.run(command)
  local self = setmetatable({ clients = {} }, Server)
  self.process = t.start(command)
  self.url = self.process:line("^wsb: serving (wss?://.+)$", 20)
  self.port = tonumber(self.url:match ":(%d+)/")
  return self
end

---@param flags? string[]  of `wsb serve`
---@return served.Server
function served.start(flags)
  return served.run { t.wsb, "serve", table.unpack(flags or {}) }
end

---A connection that has not sent anything.
---@param options? {receive_buffer: integer?, source: string?}
---@return websocket.Client
function Server:connect(options)
  local client = websocket.connect(self.port, options)
  table.insert(self.clients, client)
  return client
end

---A WebSocket.
---@param target? string  default /feed
---@param options? {receive_buffer: integer?, source: string?}
---@return websocket.Client
function Server:open(target, options)
  local client = self:connect(options)
  assert(client:send(websocket.request(target or "/feed")))
  local head, status = client:read_head()
  if status ~= 101 then error(("not upgraded: %s"):format(head), 2) end
  return client
end

---A WebSocket whose reader is about to stop: little fits into its kernel buffers.
---@param target? string
---@return websocket.Client
function Server:open_small(target)
  return self:open(target, { receive_buffer = 4096 })
end

---Whether the server still has its end of this connection.
---@param client websocket.Client
---@return boolean
function Server:holds(client)
  local row = websocket.tcp_row(self.port, client.port)
  return row ~= nil and row.state == ESTABLISHED
end

---Bytes on their way to a client, in either kernel buffer.
---@param client websocket.Client
---@return integer
function Server:kernel_bytes(client)
  return websocket.tcp_row(self.port, client.port).out + websocket.tcp_row(client.port, self.port).into
end

---Bytes that the client has sent and the server has not read.
---@param client websocket.Client
---@return integer
function Server:unread_bytes(client)
  return websocket.tcp_row(client.port, self.port).out + websocket.tcp_row(self.port, client.port).into
end

---Pids of the processes that it has started.
---@return integer[]
function Server:workers()
  local pids = {}
  for pid in t.run({ "pgrep", "-P", tostring(self.process.pid) }).stdout:gmatch "%d+" do
    pids[#pids + 1] = tonumber(pid)
  end
  return pids
end

---Sends a signal and waits for the end.
---@param signal string
---@return integer code
function Server:finish(signal)
  self.process:signal(signal)
  assert(self.process:wait(15), "it did not end")
  return self.process.code
end

---Closes every client's socket.
function Server:leave()
  for _, client in ipairs(self.clients) do client:close() end
end

---@param pid integer
---@return boolean
function served.alive(pid)
  return uv.kill(pid, 0) == 0
end

local function keep(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

---A test with a server of its own, which has to survive it and to end well.
---@param name string
---@param flags string[]  of `wsb serve`
---@param body fun(server: served.Server)
function served.test(name, flags, body)
  t.test(name, function()
    local server = served.start(flags)
    local ok, err = xpcall(body, keep, server)
    server:leave()
    if not ok then error(err, 0) end
    assert(server.process.code == nil, "the server died")
    assert(server:finish "sigterm" == 0, "exit code")
    assert(not server.process.stderr:find "Sanitizer", "a sanitizer complains")
  end)
end

return served
