-- Progress on stderr: one line per arm while it runs, overwritten on a terminal, every few seconds otherwise.

local collect = require "wsb.measure.collect"
local core = require "wsb.core"

local terminal = {}

local STDERR = 2
local REDRAW_S, PLAIN_S = 0.2, 5

---@class wsb.Terminal
---@field private live boolean     lines are overwritten
---@field private color boolean
---@field private quiet boolean
---@field private head string      "before 1/5"
---@field private drawn boolean    an unfinished line is on the screen
---@field private next_at number
local Terminal = { __name = "wsb.Terminal" }
Terminal.__index = Terminal

---@param how {quiet: boolean?, tty: boolean?, no_color: boolean?, write: fun(text: string)?}?
---@return wsb.Terminal
function terminal.new(how)
  how = how or {}
  local tty = how.tty
  if tty == nil then tty = core.isatty(STDERR) and os.getenv("TERM") ~= "dumb" end
  local no_color = how.no_color
  if no_color == nil then no_color = (os.getenv("NO_COLOR") or "") ~= "" end
  return setmetatable({ quiet = how.quiet or false, live = tty, color = tty and not no_color, head = "",
    drawn = false, next_at = 0, write = how.write or function(text) io.stderr:write(text) end }, Terminal)
end

local function erase(self)
  if self.drawn then self.write("\r\27[K") end
  self.drawn = false
end

-- As much of the line as fits.
local function clipped(text)
  local end_at = utf8.offset(text, core.columns())
  return end_at and text:sub(1, end_at - 1) or text
end

local function show(self, text)
  if self.quiet then return end
  local line = self.head == "" and text or self.head .. "  " .. text
  if not self.live then
    self.write(line .. "\n")
    return
  end
  erase(self)
  self.write(clipped(line))
  self.drawn = true
end

---A line that stays, whatever is being drawn; also when quiet.
---@param text string
function Terminal:note(text)
  erase(self)
  self.write("wsb: " .. text .. "\n")
end

---@param arm string
---@param index integer
---@param times integer
function Terminal:begin(arm, index, times)
  self.head = times > 1 and ("%s %d/%d"):format(arm, index, times) or arm
  self.next_at = 0
end

---What is being done, before the load.
---@param text string
function Terminal:say(text)
  show(self, text)
end

-- What the cohorts without faults have of what was offered to them so far, in per cent.
local function delivered_percent(ctx)
  local expected, delivered, offered = 0, 0, collect.offered(ctx)
  for _, group in ipairs(ctx.cohorts) do
    if #group.faults == 0 then
      expected = expected + offered * group.n
      delivered = delivered + collect.delivered(group:counts())
    end
  end
  return expected > 0 and math.min(100, delivered / expected * 100) or nil
end

-- Short enough for 80 columns.
local function figures(samples, ctx)
  local last = samples.last
  local parts = { ("%.1f s"):format(last.t or 0) }
  local function add(label, value, write)
    if value then table.insert(parts, label .. " " .. write(value)) end
  end
  add("mem", last.server_memory or last.rss, function(bytes) return core.format("size", bytes) end)
  add("queued", last.queue_bytes, function(bytes) return core.format("size", bytes) end)
  add("slow", last.slow_clients, function(count) return ("%d"):format(count) end)
  add("lag", last.fanout_lag_p99, function(seconds) return core.format("duration", seconds) end)
  add("got", delivered_percent(ctx), function(percent) return ("%.0f %%"):format(percent) end)
  local up, clients = 0, 0
  for _, group in ipairs(ctx.cohorts) do
    up, clients = up + group:counts().clients_open, clients + group.n
  end
  if up < clients then table.insert(parts, ("up %d of %d"):format(up, clients)) end
  if ctx.server and not ctx.server:alive() then table.insert(parts, "server down") end
  return table.concat(parts, "  ")
end

---Draws the newest sample, if it is time.
---@param samples wsb.Sampler
---@param ctx wsb.Context
function Terminal:update(samples, ctx)
  local now = core.now()
  if self.quiet or now < self.next_at then return end
  self.next_at = now + (self.live and REDRAW_S or PLAIN_S)
  show(self, figures(samples, ctx))
end

---Ends the line of an arm.
---@param text string  its outcome
function Terminal:finish(text)
  if self.quiet then return end
  erase(self)
  local head = self.color and ("\27[1m%s\27[0m"):format(self.head) or self.head
  self.write(head .. "  " .. text .. "\n")
  self.head = ""
end

---Leaves the cursor on an empty line.
function Terminal:close()
  erase(self)
end

return terminal
