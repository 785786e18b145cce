-- How the server of a run ended: from its exit and the kernel's own account, never guessed.

local core = require "wsb.core"

local outcome = {}

local SIGKILL, SIGABRT = 9, 6
local SIGKILL_IN_SHELL = 128 + SIGKILL -- what a shell says of the program that it ran
local FLAT = 0.10

local function after(at_s)
  if not at_s then return "" end
  if at_s < 0 then return " before the load began" end
  return (" after %.1f s"):format(at_s)
end

---@param exit {code: integer?, signal: integer?, words: string?}  words: where neither is known
---@return string  "ended by signal 11"
function outcome.exit_words(exit)
  if exit.words then return exit.words end
  if exit.signal then return ("ended by signal %d"):format(exit.signal) end
  return ("exited with %d"):format(exit.code or 0)
end

---@class wsb.End
---@field exit {code: integer?, signal: integer?, words: string?}?   nil: it lived
---@field asked false|"stop"|"kill"   the script itself ended it
---@field at_s number?             when it ended, from the start of the load
---@field charged {oom_kills: integer, peak: integer, hits: integer}?  its cgroup's account; nil without one
---@field refused_bytes integer    allocation that was refused just before an abort
---@field limit_kind string?
---@field limit_bytes integer?
---@field last_words string        of its log
---@field flatness number?         of its memory
---@field recovery_s number?       of a run with a fault: until all clients were back; math.huge for never
---@field watched_s number?        how long they had

local function alive_text(flatness)
  if not flatness or flatness == math.huge then return "alive" end
  if flatness < FLAT then return "alive, memory flat" end
  return ("alive, memory varied by %.1f %%"):format(flatness * 100)
end

-- What the kill was told by, so that a reader need not take our word for it.
local function kill_evidence(exit, charged)
  return ("exit %s, oom_kill %d, at most %s charged, %d times at the limit"):format(
    exit.signal and "signal 9" or "status 137 of its shell", charged.oom_kills,
    core.format("size", charged.peak), charged.hits)
end

-- Of a run with a fault: whether its clients came back.
local function after_fault(e)
  if e.recovery_s == math.huge then
    local text = ("did not recover within %.1f s"):format(e.watched_s)
    return { kind = "stalled", text = text, flatness = e.flatness }
  end
  return { kind = "alive", text = ("recovered in %.1f s"):format(e.recovery_s), flatness = e.flatness }
end

---@param e wsb.End
---@return {kind: "alive"|"stalled"|"killed"|"aborted"|"exited", text: string, at_s: number?,
---  evidence: string?, flatness: number?}
function outcome.of(e)
  local exit = e.exit
  if not exit or e.asked == "kill" or (e.asked and exit.code == 0) then
    if e.recovery_s then return after_fault(e) end
    return { kind = "alive", text = alive_text(e.flatness), flatness = e.flatness }
  end
  local limit = e.limit_bytes and core.format("size", e.limit_bytes) or "no limit"
  local by_sigkill = exit.signal == SIGKILL or exit.code == SIGKILL_IN_SHELL
  if by_sigkill and e.charged and e.charged.oom_kills > 0 then
    local text = ("killed at %s%s"):format(limit, after(e.at_s))
    return { kind = "killed", text = text, at_s = e.at_s, evidence = kill_evidence(exit, e.charged) }
  end
  if exit.signal == SIGABRT and e.limit_kind == "RLIMIT_DATA" and e.refused_bytes > 0 then
    local text = ("allocation refused at its RLIMIT_DATA of %s%s"):format(limit, after(e.at_s))
    local refused = core.format("size", e.refused_bytes)
    return { kind = "aborted", text = text, at_s = e.at_s,
      evidence = ("exit signal 6, an allocation of %s refused"):format(refused) }
  end
  local words = e.last_words ~= "" and (", last log line: %s"):format(e.last_words) or ""
  return { kind = "exited", text = outcome.exit_words(exit) .. after(e.at_s) .. words, at_s = e.at_s }
end

return outcome
