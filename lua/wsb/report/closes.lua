-- Close codes as the server sent them and as the clients saw them, which is not always the same.

local arms = require "wsb.report.arms"
local format = require "wsb.report.format"
local stats = require "wsb.judge.stats"

local closes = {}

local NO_FRAME = 1006

-- RFC 6455 7.4 and the IANA registry.
local MEANINGS = {
  [1000] = "normal",
  [1001] = "going away",
  [1002] = "protocol error",
  [1003] = "unsupported data",
  [1005] = "close without a code",
  [NO_FRAME] = "no close frame seen",
  [1007] = "not UTF-8",
  [1008] = "policy",
  [1009] = "too big",
  [1010] = "extension wanted",
  [1011] = "internal error",
  [1012] = "service restart",
  [1013] = "try again later",
  [1014] = "bad gateway",
  [1015] = "TLS failed",
  [3000] = "unauthorized",
  [3003] = "forbidden",
  [3008] = "timeout",
}

local function meaning(code)
  return MEANINGS[code] or code >= 3000 and code < 5000 and "application's own" or "reserved"
end

-- Per code one figure a run; a run without the code had none of it.
local function by_code(arm)
  local codes, list = {}, {}
  for place, run in ipairs(arm.runs) do
    for _, close in ipairs(run.closes or {}) do
      local entry = codes[close.code]
      if not entry then
        -- What a server that is not wsb's has sent nobody counted.
        entry = { unknown = close.sent == nil, code = close.code, sent = {}, seen = {} }
        for i = 1, #arm.runs do
          entry.sent[i], entry.seen[i] = 0, 0
        end
        codes[close.code] = entry
        list[#list + 1] = entry
      end
      entry.sent[place], entry.seen[place] = close.sent or 0, close.seen
    end
  end
  table.sort(list, function(a, b) return a.code < b.code end)
  return list
end

local function unseen(entry)
  for i, sent in ipairs(entry.sent) do
    if entry.seen[i] < sent then
      return true
    end
  end
  return false
end

local UNSEEN = "A client that has stopped reading does not read its close frame either."
local MADE_UP = "1006 is never sent: the client makes it up when a connection ends without a close frame."

local UNNOTICED = "%s: %s clients did not notice that the server died: they do not read."

-- Of each run whose server died, how many clients never saw the end of their connection.
local function unnoticed_note(arm)
  local counts = {}
  for _, run in ipairs(arm.runs) do
    local missing = (run.fingerprint or {}).clients or 0
    for _, close in ipairs(run.closes or {}) do
      missing = missing - close.seen
    end
    if run.outcome.kind ~= "alive" and missing > 0 then
      counts[#counts + 1] = missing
    end
  end
  if counts[1] then
    local range = format.range(stats.quantile(counts, 0), stats.quantile(counts, 1), "count")
    return UNNOTICED:format(arm.name, range)
  end
end

local function notes_for(entry, notes)
  if entry.code == NO_FRAME then
    notes[MADE_UP] = true
  elseif unseen(entry) then
    notes[UNSEEN] = true
  end
end

---@param list wsb.report.Arm[]
---@return wsb.report.Table
function closes.build(list)
  local rows, said, notes = {}, {}, {}
  for _, arm in ipairs(list) do
    for _, entry in ipairs(by_code(arm)) do
      local has_sent = entry.code ~= NO_FRAME and not entry.unknown
      notes_for(entry, said)
      rows[#rows + 1] = {
        { text = arm.name },
        { text = tostring(entry.code), },
        { text = meaning(entry.code) },
        { text = has_sent and arms.summary(entry.sent, "count") or format.NONE },
        { text = arms.summary(entry.seen, "count") },
      }
    end
  end
  for _, note in ipairs { UNSEEN, MADE_UP } do
    notes[#notes + 1] = said[note] and note or nil
  end
  for _, arm in ipairs(list) do
    notes[#notes + 1] = unnoticed_note(arm)
  end
  local columns = { { title = "arm" }, { title = "code", numeric = true }, { title = "meaning" },
    { title = "server closed with", numeric = true }, { title = "clients saw", numeric = true } }
  return { id = "closes", title = "Close codes", columns = columns, rows = rows, notes = notes }
end

return closes
