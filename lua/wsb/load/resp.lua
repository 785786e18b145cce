-- Redis asked by a script: one command at a time over a connection of core.dial, RESP2.

local core = require "wsb.core"
local task = require "wsb.base.task"

local resp = {}

local TIMEOUT_S = 3

---@class wsb.Resp
---@field private dial wsb.Dial
---@field private buffer string
local Resp = { __name = "wsb.Resp" }
Resp.__index = Resp

local read -- one reply

local READERS = {
  ["+"] = function(line, _, at) return line, at end,
  [":"] = function(line, _, at) return math.tointeger(tonumber(line)), at end,
  ["-"] = function(line, _, at) return { error = line }, at end,
  ["$"] = function(line, buffer, at)
    local size = tonumber(line)
    if size < 0 then return false, at end
    if #buffer < at + size + 1 then return nil end
    return buffer:sub(at, at + size - 1), at + size + 2
  end,
  ["*"] = function(line, buffer, at)
    local list = {}
    for i = 1, tonumber(line) do
      list[i], at = read(buffer, at)
      if list[i] == nil then return nil end
    end
    return list, at
  end,
}

-- The reply that begins at `at`, and where the next one does; nil when it is not all there.
function read(buffer, at)
  local kind, line, after = buffer:match("^([-+:$*])([^\r]*)\r\n()", at)
  if not kind then return nil end
  return READERS[kind](line, buffer, after)
end

---Reads one reply: text, an integer, false for none, a list, { error = }. nil when it is not all there.
---@param buffer string
---@return any reply
---@return integer? after  where the next one begins
function resp.read(buffer)
  return read(buffer, 1)
end

---A command as bytes.
---@param words (string|number)[]
---@return string
function resp.write(words)
  local parts = { ("*%d\r\n"):format(#words) }
  for _, word in ipairs(words) do
    local text = tostring(word)
    table.insert(parts, ("$%d\r\n%s\r\n"):format(#text, text))
  end
  return table.concat(parts)
end

---Begins to connect; that it could not is found out by who asks.
---@param host string
---@param port integer
---@param tls? wsb.Tls
---@return wsb.Resp? connection
---@return string? why
function resp.connect(host, port, tls)
  local dial, why = core.dial(host, port, tls)
  return dial and setmetatable({ dial = dial, buffer = "" }, Resp), why
end

---Sends a command and waits for its answer. After a timeout the connection is of no use any more.
---@param words (string|number)[]
---@param timeout? number  seconds; 3
---@return any reply   as resp.read, but nil for an error
---@return string? why "timeout", "end", "reset", or what Redis answered
---@async
function Resp:ask(words, timeout)
  self.dial:send(resp.write(words))
  local reply, after, state
  local came = task.wait(function()
    self.buffer = self.buffer .. self.dial:take()
    reply, after = resp.read(self.buffer)
    state = self.dial:state()
    return reply ~= nil or not (state == "connecting" or state == "securing" or state == "open")
  end, timeout or TIMEOUT_S)
  if reply == nil then
    self:close()
    return nil, came and state or "timeout"
  end
  self.buffer = self.buffer:sub(after)
  if type(reply) == "table" and reply.error then return nil, reply.error end
  return reply
end

---@return boolean
function Resp:closed()
  return self.dial:state() == "closed"
end

---Idempotent.
function Resp:close()
  self.dial:close()
end

return resp
