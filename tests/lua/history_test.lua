local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local history = require "wsb.judge.history"

local E, F = "1f2e3d4c", "aabbccdd"
local MS = 1000000

local function written(dir, name, lines)
  local path = dir .. "/" .. name
  local file = assert(io.open(path, "w"))
  for _, line in ipairs(lines) do
    file:write(line, "\n")
  end
  file:close()
  return path
end

-- Of one publisher, and of clients; both are lists of lines.
local function judge(published, received)
  local dir = t.tmpdir()
  return history.check { { path = written(dir, "received", received) },
    { path = written(dir, "published", published), publisher = 1 } }
end

-- Messages 1 to `n` at millisecond 1 to n, acknowledged at once as the offsets of the same number.
local function acknowledged(n, epoch)
  local lines = {}
  for i = 1, n do
    lines[#lines + 1] = ("S pub/0 %d %d"):format(i, i * MS)
    lines[#lines + 1] = ("A pub/0 %d %s:%d %d"):format(i, epoch or E, i, i * MS + 1)
  end
  return lines
end

local function D(offset, how)
  how = how or {}
  local id = offset and ("%s:%d"):format(how.epoch or E, offset) or "-"
  return ("D herd/4 %s 1 %d %d"):format(id, how.seq or offset, (how.at or offset) * MS + 2)
end

local function R(kept, offset, epoch)
  return ("R herd/4 %d %s:%d 5"):format(kept, epoch or E, offset)
end

local OPEN, LOST = "O herd/4 1000000", "L herd/4 1006 3000000"

-- The classes that were found, and how often: "lost=2".
local function found(report)
  local list = {}
  for _, class in ipairs(history.classes) do
    local count = report.violations[class]
    if count > 0 then list[#list + 1] = class .. "=" .. count end
  end
  return table.concat(list, " ")
end

local function says(report, text)
  for _, example in ipairs(report.examples) do
    if example.text == text then return end
  end
  error(("'%s' is not among: %s"):format(text, report.examples[1] and report.examples[1].text or "nothing"))
end

t.test("all that was promised came", function()
  local report = judge(acknowledged(3), { OPEN, R(1, 0), D(1), D(2), D(3) })
  assert.equal("", found(report))
  assert.same({ 1, 3, 3, 3, 3, 0 }, { report.clients, report.published, report.acknowledged, report.delivered,
    report.owed, report.total })
end)

t.test("a client is owed nothing from before its first position", function()
  local report = judge(acknowledged(3), { OPEN, R(1, 2), D(3) })
  assert.equal("", found(report))
  assert.equal(1, report.owed)
end)

t.test("a client that never came in is owed nothing, and counted", function()
  local report = judge(acknowledged(3), { "K herd/4 connecting 5", OPEN, LOST })
  assert.equal("", found(report))
  assert.equal(1, report.unplaced)
end)

t.test("lost in the middle", function()
  local report = judge(acknowledged(5), { OPEN, R(1, 0), D(1), D(4), D(5) })
  assert.equal("lost=2", found(report))
  says(report, "herd/4 never got 1f2e3d4c:2 and 1 more that follow, acknowledged at 0.001 s: though it was "
    .. "open since 0.000 s and got the one after at 0.003 s")
end)

t.test("lost at the end", function()
  local report = judge(acknowledged(3), { OPEN, R(1, 0), D(1), D(2) })
  assert.equal("lost=1", found(report))
  says(report, "herd/4 never got 1f2e3d4c:3, acknowledged at 0.002 s: though it was open since 0.000 s and "
    .. "stayed to the end")
end)

t.test("lost while it was away", function()
  local back = "O herd/4 3500000"
  local report = judge(acknowledged(4), { OPEN, R(1, 0), D(1), LOST, back, R(1, 4), D(4) })
  assert.equal("lost=2", found(report))
  says(report, "herd/4 never got 1f2e3d4c:2 and 1 more that follow, acknowledged at 0.001 s: though it came "
    .. "back at 0.003 s and got the one after at 0.003 s")
end)

t.test("lost because it did not come back", function()
  local report = judge(acknowledged(4), { OPEN, R(1, 0), D(1), D(2), D(3), LOST })
  assert.equal("lost=1", found(report))
  says(report, "herd/4 never got 1f2e3d4c:4, acknowledged at 0.003 s: it was away from 0.002 s to the end")
end)

t.test("what is replayed is not lost, and is timed", function()
  local lines = { OPEN, R(1, 0), D(1), LOST, "O herd/4 4000000", R(1, 3), D(2, { at = 5 }), D(3, { at = 6 }),
    D(4, { at = 7 }) }
  local report = judge(acknowledged(4), lines)
  assert.equal("", found(report))
  assert.same({ 1, 1, 2 }, { report.reconnects, report.recoveries, report.replayed })
  assert.near(0.002, report.catch_up[1], 1e-6)
end)

t.test("a replay that is broken off by a declared loss ends there", function()
  local back = { OPEN, R(1, 4), D(2), R(0, 3), D(4), D(5) }
  local report = judge(acknowledged(5), { OPEN, R(1, 0), D(1), LOST, table.unpack(back) })
  assert.equal("", found(report))
  assert.same({ 1, 1, 0 }, { report.replayed, report.excused, #report.catch_up })
end)

t.test("a declared loss excuses what lies between, and nothing else", function()
  local refused = { "O herd/4 4000000", R(0, 4), D(5), D(6) }
  local function lines(...)
    return { OPEN, R(1, 0), ..., LOST, table.unpack(refused) }
  end
  assert.equal("", found(judge(acknowledged(6), { OPEN, R(1, 0), D(1), D(2), LOST, table.unpack(refused) })))
  assert.equal("", found(judge(acknowledged(6), lines(D(1)))))
  local report = judge(acknowledged(6), lines(D(2)))
  assert.equal("lost=1", found(report))
  assert.same({ 2, 4, 1 }, { report.excused, report.owed, report.recoveries_refused })
  table.remove(refused, 3)
  assert.equal("lost=1", found(judge(acknowledged(6), lines(D(1)))))
end)

t.test("it also excuses when it is told on an open connection", function()
  local report = judge(acknowledged(6), { OPEN, R(1, 0), D(1), R(0, 3), D(4), D(5), D(6) })
  assert.equal("", found(report))
  assert.equal(2, report.excused)
end)

t.test("a new epoch excuses the rest of the old one, not what it skipped before", function()
  local published = acknowledged(4)
  table.insert(published, ("S pub/0 5 %d"):format(5 * MS))
  table.insert(published, ("A pub/0 5 %s:1 %d"):format(F, 5 * MS))
  local function with(...)
    return { OPEN, R(1, 0), ..., LOST, OPEN, R(0, 0, F), D(1, { epoch = F, seq = 5 }) }
  end
  assert.equal("", found(judge(published, with(D(1)))))
  assert.equal("lost=1", found(judge(published, with(D(2)))))
end)

t.test("a client may come back to an epoch that was out of reach", function()
  local away = R(0, 0, "00000000")
  assert.equal("", found(judge(acknowledged(5), { OPEN, R(1, 0), D(1), away, R(0, 3), D(4), D(5) })))
  local report = judge(acknowledged(5), { OPEN, R(1, 0), D(1), away, R(1, 3), D(3), D(4), D(5) })
  assert.equal("lost=1", found(report))
end)

t.test("that nothing was lost cannot be said of a new epoch", function()
  local published = acknowledged(3)
  table.insert(published, ("S pub/0 4 %d"):format(4 * MS))
  table.insert(published, ("A pub/0 4 %s:1 %d"):format(F, 4 * MS))
  assert.equal("lost=2", found(judge(published, { OPEN, R(1, 0), D(1), LOST, OPEN, R(1, 0, F),
    D(1, { epoch = F, seq = 4 }) })))
end)

t.test("what was not acknowledged may come or not", function()
  local published = { "S pub/0 1 1000000", "A pub/0 1 1f2e3d4c:1 1000001", "S pub/0 2 2000000",
    "N pub/0 2 2000001", "S pub/0 3 3000000", "S pub/0 4 4000000", "A pub/0 4 1f2e3d4c:4 4000001" }
  local start = { OPEN, R(1, 0), D(1) }
  local function after(...)
    return table.move({ ... }, 1, select("#", ...), #start + 1, table.move(start, 1, #start, 1, {}))
  end
  assert.equal("", found(judge(published, after(D(2), D(3), D(4)))))
  assert.equal("", found(judge(published, after(D(4)))))
  assert.equal("", found(judge(published, after(D(nil, { seq = 3, at = 3 }), D(4)))))
  assert.equal("twice=1", found(judge(published, after(D(2), D(2), D(4)))))
  assert.equal("twice=1", found(judge(published, after(D(2), D(nil, { seq = 2, at = 3 }), D(4)))))
end)

t.test("twice, by its id or without one", function()
  local report = judge(acknowledged(3), { OPEN, R(1, 0), D(1), D(2), D(2), D(3) })
  assert.equal("twice=1", found(report))
  says(report, "herd/4 got 1f2e3d4c:2 (message 2 of publisher 1) twice, at 0.001 s")
  local idless = D(nil, { seq = 1, at = 1 })
  assert.equal("twice=1", found(judge({ "S pub/0 1 1000000" }, { OPEN, R(1, 0), idless, idless })))
end)

t.test("backwards", function()
  local report = judge(acknowledged(3), { OPEN, R(1, 0), D(1), D(3), D(2) })
  assert.equal("backwards=1", found(report))
  assert.equal("backwards=1", found(judge(acknowledged(3), { OPEN, R(1, 2), D(3), D(2) })))
  assert.equal("backwards=1", found(judge(acknowledged(3), { OPEN, R(0, 2), D(2), D(3) })))
end)

t.test("forged: delivered, or acknowledged, and never sent", function()
  assert.equal("forged=1", found(judge(acknowledged(3), { OPEN, R(1, 3), D(4) })))
  assert.equal("forged=1", found(judge({ "A pub/0 1 1f2e3d4c:1 5" }, { OPEN, R(1, 0) })))
end)

t.test("renamed: an id of two messages, an acknowledgement of two ids", function()
  local published = acknowledged(3)
  local report = judge(published, { OPEN, R(1, 0), D(1), D(2, { seq = 3 }), D(3, { seq = 2 }) })
  assert.equal("renamed=2", found(report))
  says(report, "herd/4 was told that 1f2e3d4c:2 is message 3 of publisher 1: it is message 2 of publisher 1")
  table.insert(published, "A pub/0 3 1f2e3d4c:7 5")
  assert.equal("lost=1 renamed=1", found(judge(published, { OPEN, R(1, 2), D(3) })))
end)

t.test("undeclared: an epoch, or a connection, without a word", function()
  local published = { "S pub/0 1 1", "S pub/0 2 2" }
  assert.equal("undeclared=1", found(judge(published, { OPEN, R(1, 0), D(1),
    D(1, { epoch = F, seq = 2 }) })))
  assert.equal("undeclared=1", found(judge(published, { OPEN, D(1), D(2) })))
  assert.equal("undeclared=1", found(judge(published, { OPEN, R(1, 0), D(1), LOST, OPEN, D(2) })))
end)

t.test("disordered: stored in another order than sent", function()
  local published = { "S pub/0 1 1000000", "S pub/0 2 2000000", "A pub/0 2 1f2e3d4c:1 3000000",
    "A pub/0 1 1f2e3d4c:2 3000000" }
  local report = judge(published, { OPEN, R(1, 0), D(1, { seq = 2 }), D(2, { seq = 1 }) })
  assert.equal("disordered=1", found(report))
  says(report, "1f2e3d4c:2 is message 1 of publisher 1, stored after message 2 of publisher 1")
end)

t.test("kills are counted by state, and a publisher that listens is owed nothing", function()
  local published = acknowledged(2)
  table.insert(published, 1, "O pub/0 1")
  table.insert(published, 2, "R pub/0 1 1f2e3d4c:0 1")
  table.insert(published, "K pub/0 waiting 3000000")
  local report = judge(published, { OPEN, R(1, 0), "K herd/4 replaying 1", OPEN, R(1, 0), D(1), D(2) })
  assert.equal("", found(report))
  assert.same({ 2, { replaying = 1, waiting = 1 } }, { report.kills, report.kills_by_state })
end)

t.test("what cannot be read is said", function()
  local ok, err = pcall(judge, {}, { OPEN, "D herd/4 1f2e3d" })
  assert.is_false(ok)
  assert.equal(69, err.exit)
  assert.truthy(err.message:find("received:2: 'D herd/4 1f2e3d' is no line of a history", 1, true))
  ok, err = pcall(history.check, { { path = "/nowhere" } })
  assert.is_false(ok)
  assert.truthy(tostring(err):find("/nowhere: No such file", 1, true))
end)

-- A world that keeps its promises: two publishers, a history of the last few messages, clients that come and
-- go. Everything it does is a line.
local World = {}
World.__index = World

local KEPT = 12

local function new_world(seed)
  math.randomseed(seed)
  local world = setmetatable({ time = 0, published = { {}, {} }, received = {}, seqs = { 0, 0 }, log = {},
    epochs = 0, clients = {} }, World)
  world:begin_epoch()
  for i = 0, 5 do
    world.clients[i + 1] = { name = "herd/" .. i, open = false }
  end
  return world
end

function World:begin_epoch()
  self.epochs, self.log = self.epochs + 1, {}
  self.epoch = ("%08x"):format(self.epochs)
end

function World:now()
  self.time = self.time + math.random(1, 1000)
  return self.time
end

function World:say(format, ...)
  table.insert(self.received, format:format(...))
end

function World:deliver(client, message)
  local id = message.offset and ("%s:%d"):format(self.epoch, message.offset) or "-"
  self:say("D %s %s %d %d %d", client.name, id, message.publisher, message.seq, self:now())
  if message.offset then client.epoch, client.last = self.epoch, message.offset end
end

function World:tell(client, kept)
  self:say("R %s %d %s:%d %d", client.name, kept, self.epoch, #self.log, self:now())
  client.epoch, client.last = self.epoch, #self.log
end

function World:come(client)
  client.open = true
  self:say("O %s %d", client.name, self:now())
  if math.random() < 0.1 then return self:go(client) end -- before it is told anything
  local missed = #self.log - (client.last or 0)
  if not client.epoch then return self:tell(client, 1) end
  if client.epoch ~= self.epoch or missed > KEPT then return self:tell(client, 0) end
  local from = client.last + 1
  self:tell(client, 1)
  client.last = from - 1
  for offset = from, #self.log do
    self:deliver(client, self.log[offset])
    if math.random() < 0.05 then return self:go(client) end -- in the middle of it
  end
end

function World:go(client)
  client.open = false
  if math.random() < 0.5 then self:say("K %s reading %d", client.name, self:now()) end
  self:say("L %s 1006 %d", client.name, self:now())
end

-- Stored and acknowledged; stored and not known to be; not stored and sent all the same; nothing of it.
function World:publish()
  local publisher, fate = math.random(2), math.random()
  local seq = self.seqs[publisher] + 1
  self.seqs[publisher] = seq
  local function note(...)
    table.insert(self.published[publisher], (...):format(select(2, ...)))
  end
  note("S pub%d/0 %d %d", publisher, seq, self:now())
  local message = { publisher = publisher, seq = seq }
  if fate < 0.9 then
    table.insert(self.log, message)
    message.offset = #self.log
  end
  if fate < 0.85 then
    note("A pub%d/0 %d %s:%d %d", publisher, seq, self.epoch, message.offset, self:now())
  elseif fate < 0.95 then
    note("N pub%d/0 %d %d", publisher, seq, self:now())
  end
  if fate >= 0.97 then return end
  for _, client in ipairs(self.clients) do
    if client.open then self:deliver(client, message) end
  end
end

function World:step()
  local client, chance = self.clients[math.random(#self.clients)], math.random()
  if chance < 0.6 then return self:publish() end
  if chance < 0.61 then
    self:begin_epoch()
    for _, one in ipairs(self.clients) do
      if one.open then self:tell(one, 0) end
    end
  elseif client.open then
    self:go(client)
  else
    self:come(client)
  end
end

function World:run(steps)
  for _ = 1, steps do
    self:step()
  end
  for _, client in ipairs(self.clients) do
    while not client.open do
      self:come(client)
    end
  end
  return self
end

function World:check(received)
  local dir = t.tmpdir()
  return history.check { { path = written(dir, "1", self.published[1]), publisher = 1 },
    { path = written(dir, "2", self.published[2]), publisher = 2 },
    { path = written(dir, "r", received or self.received) } }
end

local function fields(line)
  local kind, name, id, publisher, seq = line:match "^(%u) (%S+) (%S+) ?(%S*) ?(%S*)"
  return { kind = kind, name = name, id = id, publisher = publisher, seq = seq }
end

-- The next line about the same client that matters to its position.
local function next_position(lines, index)
  local name = fields(lines[index]).name
  for i = index + 1, #lines do
    local f = fields(lines[i])
    if f.name == name and (f.kind == "R" or f.kind == "D" and f.id ~= "-") then return i, f end
  end
  return nil
end

local MUTATIONS = {}

-- Of an acknowledged message that no declared loss covers.
function MUTATIONS.drop(world, lines, index)
  local line, acked = fields(lines[index]), false
  for _, published in ipairs(world.published[tonumber(line.publisher)]) do
    acked = acked or published:find("^A %S+ " .. line.seq .. " ") ~= nil
  end
  local after, f = index
  repeat
    after, f = next_position(lines, after)
  until not f or f.kind == "D" or f.id == "0"
  if not acked or f and f.kind == "R" then return nil end
  table.remove(lines, index)
  return "lost"
end

function MUTATIONS.duplicate(_, lines, index)
  table.insert(lines, index, lines[index])
  return "twice"
end

function MUTATIONS.swap(_, lines, index)
  local other, f = next_position(lines, index)
  if not other or f.kind ~= "D" or fields(lines[index]).id == "-" then return nil end
  lines[index], lines[other] = lines[other], lines[index]
  return "backwards"
end

function MUTATIONS.forge(_, lines, index)
  lines[index] = lines[index]:gsub("%d+ (%d+)$", "999999 %1")
  return "forged"
end

t.test("no false alarm, and no single fault goes unnoticed", function()
  local names = { "drop", "duplicate", "swap", "forge" }
  for seed = 1, 60 do
    local world = new_world(seed):run(400)
    assert.equal("", found(world:check()), "seed " .. seed)
    for _, name in ipairs(names) do
      local lines, class
      repeat
        lines = table.move(world.received, 1, #world.received, 1, {})
        local index = math.random(#lines)
        class = lines[index]:find "^D" and MUTATIONS[name](world, lines, index)
      until class
      assert.equal(class .. "=1", found(world:check(lines)), ("%s, seed %d"):format(name, seed))
    end
  end
end)

t.test("a million lines are read in seconds", function()
  local dir, n = t.tmpdir(), 10000
  local published = { path = written(dir, "published", acknowledged(n)), publisher = 1 }
  local path = dir .. "/received"
  local file = assert(io.open(path, "w"))
  for i = 1, 100 do
    file:write(("O herd/%d 1\nR herd/%d 1 %s:0 1\n"):format(i, i, E))
  end
  for seq = 1, n do
    for i = 1, 100 do
      file:write(("D herd/%d %s:%d 1 %d %d\n"):format(i, E, seq, seq, seq * MS))
    end
  end
  file:close()
  collectgarbage()
  local before, began = collectgarbage "count", os.clock()
  local report = history.check { published, { path = path } }
  local took, grown = os.clock() - began, collectgarbage "count" - before
  assert.equal("", found(report))
  assert.equal(1000000, report.owed)
  io.write(("# %.1f s, %.0f KiB\n"):format(took, grown))
  assert(took < 15 and grown < 64 * 1024, ("%.1f s, %.0f KiB"):format(took, grown))
end)
