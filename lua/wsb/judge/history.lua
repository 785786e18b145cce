-- What was promised, against what came: judges the files in which swarms record what they sent and got.
--
-- A client is owed every acknowledged message after its first position (what it was told when it first came
-- in) up to the end, through all its disconnections; only a loss that it was told of ("R ... 0") excuses, and
-- exactly what lies between the last it got and the offset it was told. What was not acknowledged may come or
-- not. Nothing may come twice, or backwards, or without having been sent.
--
--     lost         an acknowledged message never came
--     twice        a message came again, under whatever id
--     backwards    an offset came after a later one of its epoch
--     forged       a message came, or was acknowledged, that nobody sent
--     renamed      an id stands for two messages, or an acknowledgement for two ids
--     undeclared   a message of an epoch, or on a connection, that was not announced to the client
--     disordered   a publisher's messages were stored in another order than it sent them
--
-- The lines of a file, times in nanoseconds:
--
--     S COHORT/0 SEQ TIME                           A COHORT/0 SEQ EPOCH:OFFSET TIME    N COHORT/0 SEQ TIME
--     O COHORT/7 TIME      L COHORT/7 CODE TIME     K COHORT/7 STATE TIME
--     R COHORT/7 1|0 EPOCH:OFFSET TIME              D COHORT/7 EPOCH:OFFSET|- PUBLISHER SEQ TIME
--
-- Files are read once, line by line; what is kept grows with clients and messages, not with deliveries.

local errors = require "wsb.base.errors"

local history = {}

local EXAMPLES = 3 -- in words, of each class

---@type string[]
history.classes = { "lost", "twice", "backwards", "forged", "renamed", "undeclared", "disordered" }

---@class wsb.HistorySource
---@field path string
---@field publisher integer?   the number in the stamps of the publisher whose file it is

---@class wsb.HistoryReport
---@field clients integer          that received, or tried to
---@field unplaced integer         those of them that never were told a position, and so are owed nothing
---@field epochs integer
---@field published integer
---@field acknowledged integer
---@field refused integer          publications told not to be stored, or of unknown fate
---@field delivered integer        messages handed to applications
---@field idless integer           those of them without an id
---@field owed integer             messages times clients, without what is excused
---@field excused integer          acknowledged ones that a client was told it will not get
---@field reconnects integer
---@field kills integer
---@field kills_by_state table<string, integer>
---@field recoveries integer       returns that were promised all that was missed
---@field recoveries_refused integer
---@field replayed integer         messages that were sent because a client had missed them
---@field catch_up number[]        seconds from the return of a client until it had all of them, ascending
---@field violations table<string, integer>   by class
---@field total integer                       of all classes
---@field examples {class: string, text: string}[]   the first few of each class

-- Which numbers of an ascending sequence have come: all from `first` to `last` but for the holes, which are
-- ascending too.
local function new_seen(first)
  return { first = first, last = first, holes = {} }
end

-- The index of the hole that n is in.
local function find_hole(holes, n)
  local low, high = 1, #holes
  while low <= high do
    local middle = (low + high) // 2
    local hole = holes[middle]
    if n < hole.from then
      high = middle - 1
    elseif n > hole.to then
      low = middle + 1
    else
      return middle
    end
  end
  return nil
end

-- A number not above the last: "again" when it has come before, "late" when it has not.
local function add_late(seen, n)
  if n <= seen.first then return "late" end
  local index = find_hole(seen.holes, n)
  if not index then return "again" end
  local hole = table.remove(seen.holes, index)
  for _, part in ipairs { { n + 1, hole.to }, { hole.from, n - 1 } } do
    if part[1] <= part[2] then
      local copy = { from = part[1], to = part[2], excused = hole.excused, opened = hole.opened,
        came = hole.came }
      table.insert(seen.holes, index, copy)
    end
  end
  return "late"
end

-- Returns nil for one above the last, and the hole that it leaves below it.
local function add(seen, n)
  local last = seen.last
  if n <= last then return add_late(seen, n) end
  seen.last = n
  if n == last + 1 then return nil end
  local hole = { from = last + 1, to = n - 1 }
  seen.holes[#seen.holes + 1] = hole
  return nil, hole
end

local function sorted_keys(t)
  local keys, count = {}, 0
  for key in pairs(t) do
    count = count + 1
    keys[count] = key
  end
  table.sort(keys)
  return keys
end

-- How many of an ascending list are at most n.
local function count_to(list, n)
  local low, high = 0, #list
  while low < high do
    local middle = (low + high + 1) // 2
    if list[middle] <= n then
      low = middle
    else
      high = middle - 1
    end
  end
  return low
end

local Judge = { __name = "wsb.Judge" }
Judge.__index = Judge

local function new_judge()
  local report = { clients = 0, unplaced = 0, epochs = 0, published = 0, acknowledged = 0, refused = 0,
    delivered = 0, idless = 0, owed = 0, excused = 0, reconnects = 0, kills = 0, kills_by_state = {},
    recoveries = 0, recoveries_refused = 0, replayed = 0, catch_up = {}, violations = {}, total = 0,
    examples = {} }
  for _, class in ipairs(history.classes) do
    report.violations[class] = 0
  end
  return setmetatable({ report = report, clients = {}, by_name = {}, epochs = {}, sent = {}, ids = {},
    from = nil }, Judge)
end

-- Notes `count` violations; `words` are asked for the first few of a class only.
function Judge:violate(class, count, words, ...)
  local report = self.report
  local before = report.violations[class]
  report.violations[class], report.total = before + count, report.total + count
  local told = self.told or {}
  self.told = told
  told[class] = (told[class] or 0) + 1
  if told[class] <= EXAMPLES then
    table.insert(report.examples, { class = class, text = words(self, ...) })
  end
end

function Judge:at(time)
  return ("%.3f s"):format((time - (self.from or time)) / 1e9)
end

function Judge:epoch(name)
  local epoch = self.epochs[name]
  if not epoch then
    epoch = { name = name, messages = {}, acked_at = {}, acked = {} }
    self.epochs[name] = epoch
    self.report.epochs = self.report.epochs + 1
  end
  return epoch
end

function Judge:client(name)
  local client = self.by_name[name]
  if not client then
    client = { name = name, places = {}, sequences = {} }
    self.by_name[name] = client
    table.insert(self.clients, client)
    self.report.clients = self.report.clients + 1
  end
  return client
end

-- A message as one number: sequences of a publisher stay in order.
local function message_of(publisher, seq)
  return publisher << 40 | seq
end

local function words_of(message)
  return ("message %d of publisher %d"):format(message & (1 << 40) - 1, message >> 40)
end

-- What an id stands for does not change. False when it would have.
function Judge:name(epoch, offset, message, who)
  local known = epoch.messages[offset]
  if not known then
    epoch.messages[offset] = message
  elseif known ~= message then
    self:violate("renamed", 1, function()
      return ("%s was told that %s:%d is %s: it is %s"):format(who, epoch.name, offset, words_of(message),
        words_of(known))
    end)
    return false
  end
  return true
end

local EVENTS = {}

function EVENTS.S(judge, line, source)
  local seq, time = line:match "^S %S+ (%d+) (%d+)$"
  if not seq then return false end
  judge.from = math.min(judge.from or math.huge, tonumber(time))
  local sent = judge.sent[source.publisher] or {}
  judge.sent[source.publisher] = sent
  sent[tonumber(seq)] = true
  judge.report.published = judge.report.published + 1
  return true
end

function EVENTS.A(judge, line, source)
  local who, seq, name, offset, time = line:match "^A (%S+) (%d+) (%x+):(%d+) (%d+)$"
  if not who then return false end
  seq, offset = tonumber(seq), tonumber(offset)
  local epoch, message = judge:epoch(name), message_of(source.publisher, seq)
  if not (judge.sent[source.publisher] or {})[seq] then
    judge:violate("forged", 1, function()
      return ("%s got %s acknowledged as %s:%d, which it never sent"):format(who, words_of(message), name,
        offset)
    end)
    return true
  end
  local other = judge.ids[message]
  if other then
    judge:violate("renamed", 1, function()
      return ("%s got %s acknowledged as %s and as %s:%d"):format(who, words_of(message), other, name, offset)
    end)
  end
  judge.ids[message] = name .. ":" .. offset
  judge.report.acknowledged = judge.report.acknowledged + 1
  if judge:name(epoch, offset, message, who) then epoch.acked_at[offset] = tonumber(time) end
  return true
end

function EVENTS.N(judge, line)
  judge.report.refused = judge.report.refused + 1
  return line:find "^N %S+ %d+ %d+$" ~= nil
end

function EVENTS.O(judge, line)
  local name, time = line:match "^O (%S+) (%d+)$"
  if not name then return false end
  local client = judge:client(name)
  if client.opened then judge.report.reconnects = judge.report.reconnects + 1 end
  client.opened, client.lost, client.announced, client.missing = tonumber(time), nil, false, nil
  return true
end

function EVENTS.L(judge, line)
  local name, time = line:match "^L (%S+) %d+ (%d+)$"
  if not name then return false end
  local client = judge:client(name)
  client.lost = client.lost or tonumber(time)
  return true
end

function EVENTS.K(judge, line)
  local name, state, time = line:match "^K (%S+) (%S+) (%d+)$"
  if not name then return false end
  local client, report = judge:client(name), judge.report
  client.lost = client.lost or tonumber(time)
  report.kills = report.kills + 1
  report.kills_by_state[state] = (report.kills_by_state[state] or 0) + 1
  return true
end

-- Its place in an epoch, when it has none there, begins after `offset`.
local function move(client, epoch, offset)
  client.epoch = epoch
  client.place = client.places[epoch] or new_seen(offset)
  client.place.left = nil
  client.places[epoch] = client.place
end

-- What it was told that it will not get. It may come back to an epoch, when Redis was only out of reach.
local function excuse(client, epoch, offset)
  if epoch ~= client.epoch then
    client.place.left = true
    move(client, epoch, offset)
  end
  local place = client.place
  if offset > place.last then
    table.insert(place.holes, { from = place.last + 1, to = offset, excused = true })
    place.last = offset
  end
end

-- That nothing was lost is a promise: in an epoch that is new to the client, of all there is in it.
local function promise(client, epoch, offset)
  if epoch ~= client.epoch then move(client, epoch, 0) end
  if offset > client.place.last then client.missing = offset end
end

function EVENTS.R(judge, line)
  local name, kept, epoch, offset = line:match "^R (%S+) ([01]) (%x+):(%d+) %d+$"
  if not name then return false end
  local client, report = judge:client(name), judge.report
  epoch, offset = judge:epoch(epoch), tonumber(offset)
  client.announced, client.missing = true, nil
  if kept == "0" then report.recoveries_refused = report.recoveries_refused + 1 end
  if not client.place then
    move(client, epoch, offset)
  elseif kept == "0" then
    excuse(client, epoch, offset)
  else
    report.recoveries = report.recoveries + 1
    promise(client, epoch, offset)
  end
  return true
end

local function undeclared(judge, client, epoch, offset)
  if client.announced and epoch == client.epoch then return end
  judge:violate("undeclared", 1, function()
    return ("%s got %s:%d %s"):format(client.name, epoch.name, offset,
      client.announced and "of an epoch that it was not told of" or "before it was told where it stands")
  end)
  client.announced = true
  if not client.place then
    move(client, epoch, offset - 1)
  else
    excuse(client, epoch, offset - 1)
  end
end

-- What was replayed, and when the last of it was there.
local function replay(judge, client, offset, time)
  local report = judge.report
  if offset <= client.missing then report.replayed = report.replayed + 1 end
  if offset >= client.missing then
    table.insert(report.catch_up, (tonumber(time) - client.opened) / 1e9)
    client.missing = nil
  end
end

local FAULTS = { again = "twice", late = "backwards" }

local function place(judge, client, epoch, offset, time)
  if not client.announced or epoch ~= client.epoch then undeclared(judge, client, epoch, offset) end
  local fault, hole = add(client.place, offset)
  if hole then hole.opened, hole.came = client.opened, tonumber(time) end
  if client.missing then replay(judge, client, offset, time) end
  return FAULTS[fault], hole
end

local function sequence(client, publisher, seq)
  local seen = client.sequences[publisher]
  if not seen then
    seen = new_seen(-1)
    client.sequences[publisher] = seen
  end
  return add(seen, seq) == "again" and "twice" or nil
end

function EVENTS.D(judge, line)
  local name, id, publisher, seq, time = line:match "^D (%S+) (%S+) (%d+) (%d+) (%d+)$"
  local epoch, offset
  if id ~= "-" then
    epoch, offset = (id or ""):match "^(%x+):(%d+)$"
    if not epoch then return false end
    epoch, offset = judge:epoch(epoch), tonumber(offset)
  end
  publisher, seq = tonumber(publisher), tonumber(seq)
  local client, report = judge:client(name), judge.report
  report.delivered = report.delivered + 1
  local message = message_of(publisher, seq)
  local fault = sequence(client, publisher, seq)
  if not (judge.sent[publisher] or {})[seq] then
    fault = "forged"
  elseif epoch then
    judge:name(epoch, offset, message, client.name)
  end
  if epoch then
    fault = place(judge, client, epoch, offset, time) or fault
  else
    report.idless = report.idless + 1
  end
  if fault then judge:blame(fault, client, id, message, time) end
  return true
end

local BLAME = { twice = "twice", backwards = "after a later one", forged = "which nobody sent" }

function Judge:blame(fault, client, id, message, time)
  self:violate(fault, 1, function()
    local what = id == "-" and words_of(message) or ("%s (%s)"):format(id, words_of(message))
    return ("%s got %s %s, at %s"):format(client.name, what, BLAME[fault], self:at(time))
  end)
end

local function not_understood(source, number, line)
  errors.raise(errors.ENVIRONMENT, "%s:%d: '%s' is no line of a history: was its swarm killed?", source.path,
    number, line:sub(1, 60))
end

-- A publisher gets what others publish, but nothing of its own: it is owed nothing.
local RECEIVED = { O = true, L = true, R = true, D = true }

local function nothing()
  return true
end

function Judge:read(source)
  local file, why = io.open(source.path, "r")
  if not file then errors.raise(errors.ENVIRONMENT, "%s: no history was recorded there", why) end
  file:setvbuf("full", 1 << 16)
  local number = 0
  for line in file:lines() do
    number = number + 1
    local kind = line:sub(1, 1)
    local event = EVENTS[kind]
    if source.publisher and RECEIVED[kind] then event = nothing end
    if not event or not event(self, line, source) then not_understood(source, number, line) end
  end
  file:close()
end

-- Where the client was when a message passed it by.
function Judge:alibi(client, hole, acked_at)
  local opened = hole.opened
  if hole.to == math.huge then
    if client.lost then return ("it was away from %s to the end"):format(self:at(client.lost)) end
    local since = acked_at >= client.opened and "was open since" or "came back at"
    return ("though it %s %s and stayed to the end"):format(since, self:at(client.opened))
  end
  local since = opened and (acked_at >= opened and "was open since " or "came back at ") .. self:at(opened)
  return ("though it %s and got the one after at %s"):format(since or "was never open", self:at(hole.came))
end

function Judge:lost(client, epoch, hole, before, count)
  self:violate("lost", count, function()
    local offset = epoch.acked[before + 1]
    local more = count > 1 and (" and %d more that follow"):format(count - 1) or ""
    return ("%s never got %s:%d%s, acknowledged at %s: %s"):format(client.name, epoch.name, offset, more,
      self:at(epoch.acked_at[offset]), self:alibi(client, hole, epoch.acked_at[offset]))
  end)
end

-- What of an epoch a client is owed, and did not get.
function Judge:settle(client, epoch, seen)
  local report, acked = self.report, epoch.acked
  report.owed = report.owed + #acked - count_to(acked, seen.first)
  local function check(hole)
    local before = count_to(acked, hole.from - 1)
    local count = count_to(acked, hole.to) - before
    if count == 0 then return end
    if hole.excused then
      report.owed, report.excused = report.owed - count, report.excused + count
    else
      self:lost(client, epoch, hole, before, count)
    end
  end
  for _, hole in ipairs(seen.holes) do
    check(hole)
  end
  check { from = seen.last + 1, to = math.huge, excused = seen.left }
end

function Judge:check_order(epoch)
  local last = {}
  for _, offset in ipairs(sorted_keys(epoch.messages)) do
    local message = epoch.messages[offset]
    local publisher = message >> 40
    if message < (last[publisher] or 0) then
      self:violate("disordered", 1, function()
        return ("%s:%d is %s, stored after %s"):format(epoch.name, offset, words_of(message),
          words_of(last[publisher]))
      end)
    else
      last[publisher] = message
    end
  end
end

local function in_order(by_name)
  local list = {}
  for _, name in ipairs(sorted_keys(by_name)) do
    list[#list + 1] = by_name[name]
  end
  return list
end

function Judge:finish()
  local epochs = in_order(self.epochs)
  for _, client in ipairs(self.clients) do
    if not client.place then self.report.unplaced = self.report.unplaced + 1 end
    for _, epoch in ipairs(epochs) do
      local seen = client.places[epoch]
      if seen then self:settle(client, epoch, seen) end
    end
  end
  for _, epoch in ipairs(epochs) do
    self:check_order(epoch)
  end
  table.sort(self.report.catch_up)
  return self.report
end

---Reads the histories of a run and judges them. Raises status 69 when one cannot be read.
---@param sources wsb.HistorySource[]
---@return wsb.HistoryReport
function history.check(sources)
  local judge = new_judge()
  for _, source in ipairs(sources) do
    if source.publisher then judge:read(source) end
  end
  for _, epoch in pairs(judge.epochs) do
    epoch.acked = sorted_keys(epoch.acked_at)
  end
  for _, source in ipairs(sources) do
    if not source.publisher then judge:read(source) end
  end
  return judge:finish()
end

---@param ascending number[]
---@param percent number
---@return number?  nil of none
function history.percentile(ascending, percent)
  return ascending[math.max(1, math.ceil(#ascending * percent / 100))]
end

return history
