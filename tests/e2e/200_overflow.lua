-- Above the high-water mark: what each policy does with a client that stops reading. Nothing here is a matter
-- of time, as long as all is published before the kernel finds more room: the kernel holds so many bytes, the
-- queue so many, and what comes out in the end is counted. Runs alone.

local served = require "served"
local t = require "harness"
local uv = require "luv"
local websocket = require "websocket"

local frame = websocket.frame
local TEXT = websocket.TEXT

local MARK = 16384
local PAYLOAD, FRAME = 1000, 1004
local NOTICE = 36
local FIRST, SETTLED_MS = 20, 500 -- messages that fill the kernel, and half of the mark at most
local PLENTY = 100 -- messages, far more than kernel buffers and mark hold

local function flags(policy, ...)
  return { "--high-water-mark", tostring(MARK), "--on-overflow", policy, "--send-buffer", "4096", ... }
end

local function text(label, number)
  local head = ("%s %d "):format(label, number)
  return head .. ("x"):rep(PAYLOAD - #head)
end

local function read_gap(payload)
  local dropped = payload:match '^{"wsb":"gap","dropped":(%d+) *}$'
  return tonumber(dropped)
end

-- Each message is out of the server's hands, or in a queue, before the next one is sent.
local function publish(sender, witness, from, to, label)
  for i = from, to do
    assert(sender:send(frame(TEXT, text(label or "m", i))))
    assert(witness:expect(TEXT):match "^%l+ %d+" == ("%s %d"):format(label or "m", i))
  end
end

-- All messages, once the kernel has taken what it takes: what the first of them have begun to fill goes on
-- moving for a while (delayed acknowledgements, probes), and what it takes later would be missing from the
-- queue.
local function publish_all(server, stalled, sender, witness)
  local before, since
  publish(sender, witness, 1, FIRST)
  t.wait_until(function()
    local now = server:kernel_bytes(stalled)
    if now ~= before then before, since = now, uv.now() end
    uv.update_time()
    return uv.now() - since >= SETTLED_MS
  end, 10, "the kernel to have its fill")
  publish(sender, witness, FIRST + 1, PLENTY)
end

-- One that does not read, one that does, one that sends.
local function cast(server)
  return server:open_small(), server:open(), server:open()
end

-- Reads up to and with the message `last`: numbers in the order of their coming, a gap as "-12".
local function drain(client, last)
  local seen, messages, notices = {}, 0, 0
  repeat
    local payload = client:expect(TEXT)
    local gap = read_gap(payload)
    local number = payload:match "^%l+ (%d+) "
    seen[#seen + 1] = gap and -gap or tonumber(number)
    if gap then notices = notices + 1 else messages = messages + 1 end
  until payload:match "^%l+ %d+" == last
  return seen, messages, notices
end

-- Runs of numbers and gaps, as "1..25 -70 96..100".
local function shape(seen)
  local runs, from, last = {}, nil, nil
  local function finish()
    if from then runs[#runs + 1] = from == last and tostring(from) or ("%d..%d"):format(from, last) end
    from = nil
  end
  for _, number in ipairs(seen) do
    if number < 0 or (from and number ~= last + 1) then finish() end
    if number < 0 then runs[#runs + 1] = tostring(number)
    else from, last = from or number, number
    end
  end
  finish()
  return table.concat(runs, " ")
end

-- The bytes that stood in the server's queue when the client began to read: all that came, less what the
-- kernel held.
local function queued(kernel_bytes, messages, notices)
  return messages * FRAME + notices * NOTICE - kernel_bytes
end

local function check_mark(size, notices)
  assert(size <= MARK + notices * NOTICE, ("%d bytes were queued"):format(size))
  assert(size > MARK - 3 * FRAME, ("only %d bytes were queued"):format(size))
end

served.test("close: the stalled one is evicted, the others lose nothing",
  flags("close", "--evict-grace", "30s"), function(server)
    local stalled, witness, sender = cast(server)
    publish_all(server, stalled, sender, witness)
    local kernel_bytes = server:kernel_bytes(stalled)
    local whole, bytes = 0, 0
    local code, reason = stalled:expect_close(function(got)
      whole, bytes = whole + 1, bytes + got.size
      assert(got.payload == text("m", whole))
    end)
    assert(code == 1013 and reason == "queue above the high-water mark", reason)
    -- Only what had begun to leave came besides: nothing else of the queue.
    assert(bytes <= kernel_bytes + FRAME, ("%d bytes, %d in the kernel"):format(bytes, kernel_bytes))
    assert(stalled:send_close(1013))
    assert(select(2, stalled:read_all()) == "end")
    sender:round_trip()
  end)

served.test("close: who does not read is reset after --evict-grace", flags("close", "--evict-grace", "200ms"),
  function(server)
    local stalled, witness, sender = cast(server)
    publish_all(server, stalled, sender, witness)
    t.wait_until(function() return not server:holds(stalled) end, 10, "the reset")
    assert(select(2, stalled:read_all()) == "reset")
    publish(sender, witness, 1, 3)
  end)

served.test("drop-newest: the first stay, the rest is one gap behind them", flags "drop-newest",
  function(server)
    local stalled, witness, sender = cast(server)
    publish_all(server, stalled, sender, witness)
    local kernel_bytes = server:kernel_bytes(stalled)
    local kept = 0
    local payload = stalled:expect(TEXT)
    while not read_gap(payload) do
      kept = kept + 1
      assert(payload == text("m", kept))
      payload = stalled:expect(TEXT)
    end
    assert(read_gap(payload) == PLENTY - kept, ("%d kept, gap of %d"):format(kept, read_gap(payload)))
    check_mark(queued(kernel_bytes, kept, 1), 1)
    stalled:round_trip()
    publish(sender, witness, 1, 1, "again")
    assert(stalled:expect(TEXT) == text("again", 1))
  end)

served.test("drop-oldest: the last stay, one gap stands before them", flags "drop-oldest", function(server)
  local stalled, witness, sender = cast(server)
  publish_all(server, stalled, sender, witness)
  local kernel_bytes = server:kernel_bytes(stalled)
  local seen, messages, notices = drain(stalled, "m " .. PLENTY)
  local first, gap, from = shape(seen):match "^1%.%.(%d+) %-(%d+) (%d+)%.%.100$"
  assert(first, shape(seen))
  assert(first + gap + 1 == from + 0, shape(seen))
  check_mark(queued(kernel_bytes, messages, notices), 1)
  stalled:round_trip()
end)

served.test("drop-oldest: the count stays right for messages of all sizes",
  flags "drop-oldest", function(server)
    local stalled, witness, sender = cast(server)
    -- Two in a row are larger than the mark: a gap in the middle of the queue, for the witness too.
    local sizes = { 10, 40, 3000, 126, 9000, 36, 17000, 17000, 700, 33, 5000, 64 }
    for i = 1, 300 do
      local size = sizes[i % #sizes + 1]
      if i % 10 == 0 then assert(stalled:send(frame(websocket.PING, "still here"))) end
      assert(sender:send(frame(TEXT, ("%d "):format(i) .. ("x"):rep(size))))
      local payload = witness:expect(TEXT)
      assert((size > MARK and read_gap(payload) == 1) or payload:match "^%d+" == tostring(i), payload)
    end
    local kernel_bytes = server:kernel_bytes(stalled)
    local expected, bytes = 1, 0
    while expected <= 300 do
      local got = assert(stalled:read_frame())
      local gap = read_gap(got.payload)
      bytes = bytes + got.size
      if gap then
        expected = expected + gap
      elseif got.opcode == TEXT then
        assert(got.payload:match "^%d+" == tostring(expected), ("%d was expected"):format(expected))
        expected = expected + 1
      end
    end
    assert(expected == 301, expected)
    assert(bytes - kernel_bytes <= MARK, ("%d bytes were queued"):format(bytes - kernel_bytes))
  end)

served.test("conflate: the newest of each key stays", flags "conflate", function(server)
  local stalled, witness = server:open_small(), server:open()
  local a, b = server:open "/feed?key=a", server:open "/feed?key=b"
  publish(a, witness, 1, PLENTY, "a") -- a's fill the queue, then each replaces those before it
  publish(b, witness, 1, 2, "b")
  publish(a, witness, PLENTY + 1, PLENTY + 1, "a")
  local labels = {}
  repeat
    local payload = stalled:expect(TEXT)
    local label, number = payload:match "^(%l) (%d+)"
    if label then labels[#labels + 1] = ("%s %s"):format(label, number) end
  until label == "a" and tonumber(number) > PLENTY
  assert(#labels < PLENTY, #labels)
  assert(labels[#labels - 1] == "b 2" and labels[#labels - 2] == "b 1", table.concat(labels, " "))
end)

served.test("conflate: everything that came or was told missing adds up", flags "conflate", function(server)
  local stalled, witness = server:open_small(), server:open()
  local senders = {}
  for key = 1, 4 do senders[key] = server:open(("/feed?key=%d"):format(key)) end
  for i = 1, PLENTY do
    for key = 1, 4 do publish(senders[key], witness, i, i, ("abcd"):sub(key, key)) end
  end
  local total, newest = 0, {}
  repeat
    local payload = stalled:expect(TEXT)
    local label, number = payload:match "^(%l) (%d+)"
    total = total + (read_gap(payload) or 1)
    if label then
      assert((newest[label] or 0) < tonumber(number), "an older message of its key came later")
      newest[label] = tonumber(number)
    end
  until total >= 4 * PLENTY
  assert(total == 4 * PLENTY, total)
  for _, label in ipairs { "a", "b", "c", "d" } do assert(newest[label] == PLENTY, newest[label]) end
end)

served.test("none: everything is queued and comes in the end", flags "none", function(server)
  local stalled, witness, sender = cast(server)
  publish_all(server, stalled, sender, witness)
  local kernel_bytes = server:kernel_bytes(stalled)
  local seen, messages = drain(stalled, "m " .. PLENTY)
  assert(shape(seen) == "1..100", shape(seen))
  assert(queued(kernel_bytes, messages, 0) > 3 * MARK)
end)

served.test("a message larger than the mark: close evicts even who reads", flags "close", function(server)
  local reader, sender = server:open(), server:open()
  assert(sender:send(frame(TEXT, ("x"):rep(MARK))))
  assert(reader:expect_close() == 1013)
  sender:round_trip()
end)

served.test("a message that fills the mark exactly is let through", flags "close", function(server)
  local reader, sender = server:open(), server:open()
  assert(sender:send(frame(TEXT, ("x"):rep(MARK - 4))))
  assert(#reader:expect(TEXT) == MARK - 4)
end)

for _, policy in ipairs { "drop-newest", "drop-oldest", "conflate" } do
  served.test(("a message larger than the mark: %s leaves it out and says so"):format(policy), flags(policy),
    function(server)
      local reader, sender = server:open(), server:open()
      assert(sender:send(frame(TEXT, ("x"):rep(MARK)) .. frame(TEXT, "small")))
      assert(read_gap(reader:expect(TEXT)) == 1)
      assert(reader:expect(TEXT) == "small")
    end)
end

served.test("--no-gap-notice: nothing is told", flags("drop-newest", "--no-gap-notice"), function(server)
  local stalled, witness, sender = cast(server)
  publish_all(server, stalled, sender, witness)
  local bytes = 0
  assert(stalled:send(frame(websocket.PING, "end")))
  while true do
    local got = assert(stalled:read_frame())
    if got.opcode == websocket.PONG then break end
    bytes = bytes + 1
    assert(got.payload == text("m", bytes))
  end
  assert(bytes < PLENTY)
end)

served.test("pings of one that does not read do not fill its queue", flags("close", "--evict-grace", "30s"),
  function(server)
    -- With a small buffer the kernel would in time refuse the acknowledgements of its pings, too.
    local stalled, sender = server:open(), server:open()
    local pings = frame(websocket.PING, ("p"):rep(125)):rep(1000)
    for _ = 1, 10 do assert(stalled:send(pings)) end
    t.wait_until(function() return server:unread_bytes(stalled) == 0 end, 10, "the pings to be read")
    sender:round_trip()
    local kernel_bytes = server:kernel_bytes(stalled)
    assert(stalled:send_close(1000))
    local bytes = 0
    local code = stalled:expect_close(function(got)
      assert(got.opcode == websocket.PONG)
      bytes = bytes + got.size
    end)
    assert(code == 1000)
    local excess = bytes - kernel_bytes - MARK
    assert(excess <= 1024, ("pongs took %d bytes more than the mark"):format(excess))
  end)
