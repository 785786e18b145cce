-- The name that was probably meant.

local suggest = {}

-- Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
local function distance(a, b)
  local before, previous = {}, {}
  for j = 0, #b do
    previous[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, previous = previous, row
  end
  return previous[#b]
end

---The candidate nearest to `name`, when it is near enough to be a slip of the keyboard or a beginning.
---@param name string
---@param candidates string[]
---@return string?
function suggest.nearest(name, candidates)
  local best, best_distance
  for _, candidate in ipairs(candidates) do
    local d = distance(name:lower(), candidate:lower())
    if #name >= 3 and candidate:sub(1, #name) == name then d = math.min(d, 1) end
    if not best or d < best_distance then best, best_distance = candidate, d end
  end
  if best and best_distance <= math.max(1, #name // 3) then return best end
  return nil
end

---@param list string[]
---@param name string
---@return boolean
function suggest.contains(list, name)
  for _, item in ipairs(list) do
    if item == name then return true end
  end
  return false
end

---What to do about an unknown name: "did you mean X?", or the whole list.
---@param name string
---@param candidates string[]
---@return string
function suggest.remedy(name, candidates)
  local nearest = suggest.nearest(name, candidates)
  if nearest then return ("did you mean %s?"):format(nearest) end
  local sorted = table.move(candidates, 1, #candidates, 1, {})
  table.sort(sorted)
  return "use one of " .. table.concat(sorted, ", ")
end

return suggest
