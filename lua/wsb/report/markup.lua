-- Trees of HTML and SVG elements. Text is escaped where it is printed and tags close themselves, so neither
-- can be forgotten: E.p { class = "note", "n < 5: ", E.b { "too small" } }

local markup = {}

local VOID = { meta = true, br = true, link = true, hr = true }
local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local Element = { __name = "wsb.markup.Element" }

---@param text string
---@return string
function markup.escape(text)
  return (text:gsub("[&<>\"']", ENTITIES))
end

---E.td { class = "number", "12 MiB" }: named fields are attributes, numbered ones children. A child is an
---element, a string or number, a list of children, or false for nothing. A false attribute is left out.
---@type table<string, fun(parts: table): table>
markup.elements = setmetatable({}, {
  __index = function(_, tag)
    return function(parts)
      return setmetatable({ tag = tag, parts = parts }, Element)
    end
  end,
})

---Text that goes out as it is: a style sheet.
---@param text string
---@return table
function markup.raw(text)
  return setmetatable({ raw = text }, Element)
end

local print_node

local function print_attributes(parts, out)
  local names = {}
  for name, value in pairs(parts) do
    if type(name) == "string" and value ~= false then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = (' %s="%s"'):format(name, markup.escape(tostring(parts[name])))
  end
end

local function print_element(element, out)
  out[#out + 1] = "<" .. element.tag
  print_attributes(element.parts, out)
  out[#out + 1] = ">"
  if VOID[element.tag] then
    return
  end
  print_node(element.parts, out)
  out[#out + 1] = "</" .. element.tag .. ">"
end

function print_node(node, out)
  if getmetatable(node) == Element then
    if node.raw then
      out[#out + 1] = node.raw
    else
      print_element(node, out)
    end
  elseif type(node) == "table" then
    for _, child in ipairs(node) do
      print_node(child, out)
    end
  elseif node then
    out[#out + 1] = markup.escape(tostring(node))
  end
end

---@param node table
---@return string
function markup.print(node)
  local out = {}
  print_node(node, out)
  return table.concat(out)
end

return markup
