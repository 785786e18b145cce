-- What a process has said, from the file that its output goes to.

local log = {}

---The last lines that are not blank, at most `count` of them.
---@param path string?
---@param count integer
---@param from? integer  bytes to leave out: what others said before
---@return string[]
function log.tail(path, count, from)
  local file = path and io.open(path, "r")
  if not file then return {} end
  file:seek("set", from or 0)
  local lines = {}
  for line in file:lines() do
    if line:find("%S") then
      lines[#lines + 1] = line:match("^%s*(.-)%s*$")
      if #lines > count then table.remove(lines, 1) end
    end
  end
  file:close()
  return lines
end

return log
