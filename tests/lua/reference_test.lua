local assert = require "luassert"
local t = require "harness"
local core = require "lua.fake_core"
local reference = require "wsb.command.reference"

local WIDE = 400

-- The rows of a page by their first word; what has no columns is left out.
local function rows(page)
  local found = {}
  for line in page:gmatch "[^\n]+" do
    local name, rest = line:match "^([%l%d_]+)  +(.+)$"
    if name then found[name] = rest end
  end
  return found
end

t.test("every metric has its unit and its sentence", function()
  local found = rows(reference.metrics(WIDE))
  for _, metric in ipairs(core.metrics()) do
    assert.matches("^[%l-]+  +%S", found[metric.name])
    assert.truthy(found[metric.name]:find(metric.help, 1, true), metric.name)
  end
  for _, name in ipairs { "server_memory", "rss", "limit_usage", "cpu", "delivered", "missing", "expected",
    "closes" } do
    assert.matches("^%l+  +%l", found[name])
  end
  assert.matches("^bytes ", found.queue_bytes)
  assert.matches("^connections ", found.evictions_mark)
end)

t.test("metrics stand under the aggregates and tags they take", function()
  local page = reference.metrics(WIDE)
  local function head_of(name)
    local before = page:sub(1, page:find("\n" .. name .. " ", 1, true))
    return before:match ".*\n(aggregates: [^\n]+)"
  end
  assert.equal("aggregates: flatness, last, max, mean, min", head_of "server_memory")
  assert.equal("aggregates: flatness, last, max, mean, min (default last)", head_of "queue_bytes")
  assert.equal("aggregates: count, max, mean, p(99); tags: cohort, since", head_of "fanout_lag")
  assert.equal("aggregates: seen, sent; tags: code, cohort, since", head_of "closes")
  assert.equal("aggregates: last, peak (default last); tags: server, since", head_of "evictions_mark")
  assert.equal("aggregates: each, last, peak (default last); tags: cohort, since",
    head_of "messages_received")
end)

t.test("every option has type, default, when it may change, and its sentence", function()
  local page = reference.options(WIDE)
  for _, role in ipairs { "server", "swarm" } do
    for _, o in ipairs(core.options(role)) do
      local hidden = o.name:find "^testing_"
      local default = o.default == "" and "none" or o.default
      local row = ("\n%s %s %s %s %s"):format(o.name, o.type:gsub("_", " "), default,
        o.live and "live" or "fixed", o.help)
      assert.equal(not hidden, page:gsub("  +", " "):find(row, 1, true) ~= nil, row)
    end
  end
  assert.truthy(page:find(": none, close, drop-newest, drop-oldest, conflate", 1, true))
end)

t.test("the pages fit a terminal of 80 columns", function()
  for _, page in ipairs { reference.metrics(80), reference.options(80) } do
    for line in page:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 80, line)
    end
  end
end)
