-- Chromium without a window, for the tests that need a real browser.

local t = require "harness"

local browser = {}

local PROGRAMS = { "chromium", "chromium-browser", "google-chrome" }

-- The path of a browser; skips the test when none is installed.
local function program()
  for _, name in ipairs(PROGRAMS) do
    local found = t.run({ "sh", "-c", "command -v " .. name }).stdout:match "[^\n]+"
    if found then return found end
  end
  t.skip "chromium is not installed"
end

---The command that opens `url`, with `flags`. The sandbox needs what containers and root do not have.
---@param url string
---@param flags? string[]
---@return string[]
function browser.command(url, flags)
  local command = { program(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars",
    "--user-data-dir=" .. t.tmpdir() }
  table.move(flags or {}, 1, #(flags or {}), #command + 1, command)
  table.insert(command, url)
  return command
end

return browser
