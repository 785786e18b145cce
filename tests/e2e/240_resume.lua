-- Clients that come back to where they were: what they ask for, what they drop, what they write down; a
-- publisher that is answered; connections that the swarm cuts itself. The far end is a server of the test's
-- own that keeps a history.

local swarmed = require "swarmed"
local t = require "harness"
local toys = require "toy"
local uv = require "luv"
local websocket = require "websocket"

local START = [[
  if event.name == "connected" then worker:send "start" end
]]

local function stamped(sequence)
  return ("wsb1 %08x %016x %016x "):format(1, sequence, uv.hrtime())
end

local function say(connection, payload)
  connection.tcp:write(websocket.frame(websocket.TEXT, payload, { mask = false }))
end

local function recovered(connection, yes, epoch, offset)
  say(connection, ('{"wsb":"recovered","recovered":%s,"epoch":"%s","offset":%d}'):format(yes, epoch, offset))
end

-- Messages from the one id to the other, the sequence being the offset.
local function tell(connection, epoch, from, to)
  for offset = from, to do say(connection, ("%s:%d\n%s"):format(epoch, offset, stamped(offset))) end
end

local function target_of(connection) return (connection.request:match "^GET (%S+) ") end

-- What the client says, as it comes; a Close is answered.
local function each_text(connection, on_text)
  local bytes = ""
  connection.heard = function(data)
    bytes = bytes .. data
    while #bytes >= 6 do
      local size, at = bytes:byte(2) & 127, 3
      if size == 126 then size, at = (">I2"):unpack(bytes, 3) end
      if #bytes < at + 3 + size then return end
      local payload = websocket.mask(bytes:sub(at + 4, at + 3 + size), bytes:sub(at, at + 3))
      local opcode = bytes:byte(1) & 15
      bytes = bytes:sub(at + 4 + size)
      if opcode == websocket.TEXT and on_text then on_text(payload) end
      if opcode == websocket.CLOSE then
        toys.say_close(connection, 1000, "")
        connection.tcp:shutdown()
      end
    end
  end
end

local function swarm(toy, options, on_event)
  local all = { url = toy.url, clients = "1", resume = "true", reconnect = "fixed", reconnect_base = "10ms" }
  for name, value in pairs(options) do all[name] = value end
  return swarmed.start(all, on_event)
end

local function lines_of(path, kinds)
  local lines = {}
  for line in io.lines(path) do
    if line:find("^[" .. kinds .. "] ") then lines[#lines + 1] = (line:gsub(" %d+$", "")) end
  end
  return lines
end

local function expect_lines(path, kinds, expected)
  local found = table.concat(lines_of(path, kinds), "\n")
  assert(found == table.concat(expected, "\n"), found)
end

-- An answer for each connection, the last one for all that follow.
local function scripted(...)
  local answers, targets = { ... }, {}
  local toy = toys.server(function(connection, n)
    targets[n] = target_of(connection)
    toys.upgrade(connection)
    each_text(connection)
    answers[math.min(n, #answers)](connection)
  end)
  toy.targets = targets
  return toy
end

local function leave(connection) connection.tcp:shutdown() end

t.test("it asks for what it missed, and drops what it knows", function()
  local record = os.tmpname()
  local toy = scripted(function(connection)
    recovered(connection, true, "0000000a", 2)
    tell(connection, "0000000a", 3, 4)
    leave(connection)
  end, function(connection)
    recovered(connection, true, "0000000a", 7)
    tell(connection, "0000000a", 3, 8)
  end)
  local s = swarm(toy, { record = record, cohort = "them" })
  s:await("messages_received", 6)
  s:expect { messages_deduplicated = 2, messages_recovered = 3, recoveries = 1, recoveries_refused = 0,
    messages_duplicate = 0, messages_missed = 0, messages_foreign = 0, messages_corrupt = 0 }
  assert(toy.targets[1] == "/feed?since=" and toy.targets[2] == "/feed?since=0000000a:4", toy.targets[2])
  s:stop()
  expect_lines(record, "OLRD", { "O them/0", "R them/0 1 0000000a:2", "D them/0 0000000a:3 1 3",
    "D them/0 0000000a:4 1 4", "L them/0 1006", "O them/0", "R them/0 1 0000000a:7",
    "D them/0 0000000a:5 1 5", "D them/0 0000000a:6 1 6", "D them/0 0000000a:7 1 7",
    "D them/0 0000000a:8 1 8", "L them/0 1000" })
  os.remove(record)
end)

t.test("one that cannot be helped begins anew", function()
  local toy = scripted(function(connection)
    recovered(connection, true, "0000000a", 100)
    tell(connection, "0000000a", 101, 102)
    leave(connection)
  end, function(connection)
    recovered(connection, false, "0000000b", 1)
    tell(connection, "0000000b", 2, 3)
    recovered(connection, false, "0000000c", 0)
    leave(connection)
  end, function(connection)
    recovered(connection, true, "0000000c", 1)
    tell(connection, "0000000c", 1, 2)
  end)
  local s = swarm(toy, {})
  s:await("recoveries", 1)
  s:await("messages_recovered", 1)
  s:expect { recoveries_refused = 2, messages_deduplicated = 0, messages_received = 6 }
  assert(toy.targets[2] == "/feed?since=0000000a:102", toy.targets[2])
  assert(toy.targets[3] == "/feed?since=0000000c:0", toy.targets[3])
  s:stop()
end)

t.test("a query that is there already goes on", function()
  local toy = scripted(function(connection) recovered(connection, true, "0000000a", 2) end)
  toy.url = toy.url .. "?key=a"
  local s = swarm(toy, { acks = "true" })
  s:await("clients_open", 1)
  assert(toy.targets[1] == "/feed?key=a&since=&acks=1", toy.targets[1])
  s:stop()
end)

t.test("without resume it asks for nothing, and still reads what is behind the id", function()
  local toy = scripted(function(connection)
    recovered(connection, true, "0000000a", 2)
    tell(connection, "0000000a", 3, 4)
    say(connection, "-\n" .. stamped(5))
    say(connection, '{"wsb":"gap","dropped":7         }')
    leave(connection)
  end)
  local s = swarm(toy, { resume = "false", reconnect = "none" })
  s:await("clients_lost", 1)
  assert(toy.targets[1] == "/feed", toy.targets[1])
  s:expect { messages_received = 3, messages_corrupt = 0, gaps_told = 7, messages_foreign = 1 }
  s:stop()
end)

t.test("a client that does not drop duplicates is found out", function()
  local record = os.tmpname()
  local toy = scripted(function(connection)
    recovered(connection, true, "0000000a", 0)
    tell(connection, "0000000a", 1, 3)
    tell(connection, "0000000a", 2, 3)
  end)
  local s = swarm(toy, { testing_bug = "no-dedup", record = record })
  s:await("messages_received", 5)
  s:expect { messages_duplicate = 2, messages_deduplicated = 0 }
  s:stop()
  assert(#lines_of(record, "D") == 5)
  os.remove(record)
end)

t.test("a publisher is told what is stored, and knows what it does not know", function()
  local record = os.tmpname()
  local connections, heard = 0, 0
  local toy = scripted(function(connection)
    local n, mine = 0, connections
    connections = connections + 1
    recovered(connection, true, "0000000a", heard)
    each_text(connection, function()
      n, heard = n + 1, heard + 1
      if n == 2 then say(connection, '{"wsb":"nack","n":2}')
      elseif n == 4 and mine == 0 then leave(connection)
      elseif n < 4 or mine > 0 then
        say(connection, ('{"wsb":"ack","n":%d,"id":"0000000a:%d"}'):format(n, heard))
      end
    end)
  end)
  local s = swarm(toy, { acks = "true", record = record, publish_rate = "50", publish_size = "48" }, START)
  t.wait_until(function() return s:count "publish_acked" >= 5 end, 20, "answers")
  s:stop()
  local last = s.counts
  assert(last.publish_nacked >= 3, last.publish_nacked)
  assert(last.publish_acked + last.publish_nacked == last.publish_sent, last.publish_sent)
  assert(toy.targets[2] == "/feed?since=0000000a:0&acks=1", toy.targets[2])
  assert(#lines_of(record, "S") == last.publish_sent)
  local answers = lines_of(record, "AN")
  assert(#answers == last.publish_sent)
  assert(answers[1] == "A clients/0 0 0000000a:1", answers[1])
  assert(answers[2] == "N clients/0 1" and answers[3] == "A clients/0 2 0000000a:3", answers[3])
  assert(answers[4] == "N clients/0 3", answers[4])
  os.remove(record)
end)

t.test("each attempt goes to one of several servers", function()
  local function answer(connection)
    recovered(connection, true, "0000000a", 0)
    leave(connection)
  end
  local toys_there = { scripted(answer), scripted(answer), scripted(answer) }
  local s = swarm(toys_there[1], { clients = "5", servers = toys_there[2].url .. "," .. toys_there[3].url })
  for _, toy in ipairs(toys_there) do
    t.wait_until(function() return #toy.targets > 10 end, 20, "attempts at each")
  end
  s:stop()
end)

-- A history that is sent in small pieces, so that its replay and its frames take time; half of it is live.
-- `most`: connections that there were at once.
local function slow_history()
  local history = { now = 0, most = 0 }
  local function pieces(connection, bytes)
    local timer, at = uv.new_timer(), 1
    timer:start(0, 1, function()
      if at > #bytes or connection.tcp:is_closing() then timer:close() return end
      connection.tcp:write(bytes:sub(at, at + 199))
      at = at + 200
    end)
  end
  history.toy = toys.server(function(connection)
    local since = tonumber(target_of(connection):match "since=0000000a:(%d+)") or 0
    local bytes = ""
    local function add(payload)
      bytes = bytes .. websocket.frame(websocket.TEXT, payload, { mask = false })
    end
    history.now = history.now + 1
    history.most = math.max(history.most, history.now)
    connection.left = function() history.now = history.now - 1 end
    toys.upgrade(connection)
    each_text(connection)
    local to = since + 30
    add(('{"wsb":"recovered","recovered":true,"epoch":"0000000a","offset":%d}'):format(to))
    for offset = since + 1, to + 30 do add(("0000000a:%d\n%s"):format(offset, stamped(offset))) end
    pieces(connection, bytes)
  end)
  return history
end

local function cut_states(record)
  local states = {}
  for line in io.lines(record) do
    local state = line:match "^K clients/%d+ (%S+) %d+$"
    if state then states[state] = (states[state] or 0) + 1 end
  end
  return states
end

t.test("it cuts its own connections, in whatever state they are", function()
  local record = os.tmpname()
  local history = slow_history()
  local s = swarm(history.toy, { clients = "20", kill_rate = "400", record = record,
    reconnect_base = "20ms" }, START)
  t.wait_until(function() return s:count "clients_killed" > 1500 end, 40, "cuts")
  s:stop()
  local states, cuts = cut_states(record), 0
  for _, state in ipairs { "connecting", "upgrading", "replaying", "mid-frame", "open", "waiting" } do
    assert(states[state], state)
  end
  for _, n in pairs(states) do cuts = cuts + n end
  assert(cuts == s:count "clients_killed", cuts)
  assert(s:count "clients_lost" == 0, "a connection that was cut counts as lost")
  assert(history.most > 20, "no socket was left open")
  t.wait_until(function() return history.now == 0 end, 10, "the end of what was left")
  assert((history.toy.ends["ECONNRESET"] or 0) > 100, "resets")
  assert((history.toy.ends["end"] or 0) > 100, "closes")
  os.remove(record)
end)

t.test("the cuts end when they are to", function()
  local history = slow_history()
  local s = swarm(history.toy, { clients = "20", kill_rate = "200", kill_until = "500ms" }, START)
  t.wait_until(function() return s:count "clients_killed" > 50 end, 20, "cuts")
  t.wait_until(function() return s:count "clients_open" == 20 end, 20, "the end of the cuts")
  s:stop()
end)

t.test("options that cannot be had are named", function()
  local toy = scripted(function() end)
  local s = swarm(toy, { record = "/nowhere/at/all" })
  s:await_event("failed why=record: '/nowhere/at/all': No such file or directory")
  s = swarm(toy, { servers = "ws://127.0.0.1:1/,wss://127.0.0.1:1/" })
  s:await_event("failed why=servers: 'wss://127.0.0.1:1/' is not accepted; give the scheme, and for wss the "
    .. "host, of url")
  s = swarm(toy, { servers = "ws://nowhere.example/" })
  s:await_event("failed why=servers: host 'nowhere.example' is not accepted; give a numeric address or "
    .. "localhost")
end)
