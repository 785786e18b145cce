-- An experiment aimed at a server that is not wsb's: its load, and the thresholds of the arm that its script
-- names as `target`. When the fix is the server's there is one arm, since it is in somebody else's code;
-- when it is the clients', the arms stay, and what is judged is the server under the clients of the target.

local errors = require "wsb.base.errors"
local program = require "wsb.load.program"
local raw = require "wsb.load.raw"

local aim = {}

local ARM = "yours"
local FEED_S = 5 -- how long a feed of its own may take to say something
local CLAIM = "Under this load your server holds those thresholds of %s that could be measured."
local OF_ITS_FEED = "messages_foreign"
local TEXT, BINARY = raw.TEXT, raw.BINARY

---Flags of every experiment whose script names its `target`.
aim.OPTIONS = {
  command = { "a server to run in place of wsb's, as for a shell", "" },
  ready = { "when it is ready: PORT, HOST:PORT, unix:/PATH, or a text that it prints", "" },
  target = { "ws://HOST:PORT/PATH of a server that runs already, instead", "" },
  pid = { "its process, to measure its memory", 0 },
  url = { "where clients connect; ws://127.0.0.1:PORT/feed of --ready when empty", "" },
  publish_url = { "where messages are published; there as well when empty", "" },
  allow_remote = { "host that may be aimed at beside this machine's", "" },
}

local function check_url(flag, url, allowed)
  local host = raw.parse(url)
  if not host then
    errors.raise(errors.USAGE, "%s: '%s' is not accepted: give ws://HOST:PORT/PATH", flag, url)
  end
  local is_near = host == "localhost" or host == "::1" or host:find "^127%.%d+%.%d+%.%d+$"
  if not is_near and host ~= allowed then
    errors.raise(errors.USAGE, "%s: '%s' is not this machine: name it with --allow-remote %s, if it is yours "
      .. "to test", flag, host, host)
  end
  return url
end

local function check_together(opt)
  local function given(name) return opt[name] ~= "" and opt[name] ~= 0 end
  for _, rule in ipairs { { "command", "ready" }, { "pid", "target" }, { "ready", "command" } } do
    if given(rule[1]) and not given(rule[2]) then
      errors.raise(errors.USAGE, "--%s: needs --%s: give both", rule[1], rule[2])
    end
  end
  if given "command" and given "target" then
    errors.raise(errors.USAGE, "--target: not together with --command: give one of them")
  end
  for _, name in ipairs { "url", "publish_url" } do
    if given(name) and not given "command" and not given "target" then
      errors.raise(errors.USAGE, "--%s: needs --command or --target: give one", (name:gsub("_", "-")))
    end
  end
end

local function url_of(opt)
  if opt.target ~= "" then
    check_url("--target", opt.target, opt.allow_remote)
    if opt.url == "" then return opt.target end
  end
  if opt.url ~= "" then return check_url("--url", opt.url, opt.allow_remote) end
  local host, port = program.address(opt.ready)
  if not host then
    errors.raise(errors.USAGE, "--url: missing: '%s' of --ready is no port: give ws://HOST:PORT/PATH",
      opt.ready)
  end
  host = host:find(":", 1, true) and "[" .. host .. "]" or host
  return check_url("--ready", ("ws://%s:%d/feed"):format(host, port), opt.allow_remote)
end

---What the flags aim at; nil when nothing. Raises status 64.
---@param opt table<string, any>
---@return wsb.Aim?
function aim.read(opt)
  check_together(opt)
  if opt.command == "" and opt.target == "" then return nil end
  local url = url_of(opt)
  local publish_url = opt.publish_url == "" and url
    or check_url("--publish-url", opt.publish_url, opt.allow_remote)
  local is_target = opt.target ~= ""
  return { command = not is_target and opt.command or nil, ready = opt.ready, target = is_target,
    pid = opt.pid ~= 0 and opt.pid or nil, url = url, publish_url = publish_url }
end

-- Whether a message of the server's own arrives at the client.
local function feeds(ctx, client)
  local heard = false
  ctx:wait(function()
    local frame, why = client:read_frame(0.2)
    heard = frame ~= nil and (frame.opcode == TEXT or frame.opcode == BINARY)
    return heard or (not frame and why ~= "timeout")
  end, FEED_S)
  return heard
end

local function upgraded(ctx)
  local client = ctx:dial(ctx.server.url)
  local status, why = client:request()
  if status ~= 101 then
    errors.raise(errors.ENVIRONMENT, "--url: %s: no upgrade: %s: check address and path", ctx.server.url,
      tostring(status or why))
  end
  return client
end

local function lets_in(ctx)
  upgraded(ctx)
  ctx:hang_up()
  return true
end

-- Finds out what it does with messages: relay them, or send its own.
local function find_out(ctx)
  local server = ctx.server
  local client = upgraded(ctx)
  server.relays = ctx:probe "2s"
  local heard = server.relays or feeds(ctx, client)
  ctx:hang_up()
  if heard then return true end
  errors.raise(errors.ENVIRONMENT, "--url: %s: a subscriber receives nothing, neither what is published to "
    .. "%s nor anything else: check both, or give --publish-url", server.url, server.publish_url)
end

-- Of a server that is not wsb's only the rss is known.
local function of_rss(metric)
  return (metric:gsub("^server_memory%f[^%w_]", "rss"))
end

-- The target first, then the others that do without an option of wsb's server.
local function arms_of(spec)
  local arms = {}
  for _, arm in ipairs(spec.arms) do
    if arm.name == spec.target then table.insert(arms, 1, arm) end
    if arm.name ~= spec.target and not arm.server then table.insert(arms, arm) end
  end
  return arms[1].clients and arms or { { name = ARM } }
end

local function thresholds_of(spec, arms)
  local own, all = { expect = "pass" }, {}
  for metric, expressions in pairs((spec.thresholds or {})[spec.target] or {}) do
    if metric ~= "expect" then own[of_rss(metric)] = expressions end
  end
  for i, arm in ipairs(arms) do
    all[arm.name] = i == 1 and own or { expect = "any" }
  end
  return all
end

local function each_of_rss(metrics)
  local list = {}
  for i, metric in ipairs(metrics or {}) do
    list[i] = of_rss(metric)
  end
  return list
end

---The experiment as it is run on somebody else's server.
---@param spec table
---@return table
function aim.experiment(spec)
  local own = {}
  for name, value in pairs(spec) do
    own[name] = value
  end
  own.arms = arms_of(spec)
  own.thresholds = thresholds_of(spec, own.arms)
  own.steady_state = { { "a client is let in", lets_in } }
  if spec.steady_state then own.steady_state = { { "a subscriber receives something", find_out } } end
  own.compare, own.columns = each_of_rss(spec.compare), each_of_rss(spec.columns or spec.compare)
  if spec.steady_state then table.insert(own.columns, OF_ITS_FEED) end
  own.claim = CLAIM:format(spec.target)
  own.charts = spec.charts and {}
  for i, chart in ipairs(spec.charts or {}) do
    local is_memory = chart.series == "server_memory"
    own.charts[i] = { series = of_rss(chart.series), unit = chart.unit, log = chart.log,
      title = is_memory and "Memory of the server's processes (rss)" or chart.title,
      lines = is_memory and {} or chart.lines }
  end
  return own
end

---Leaves out of a result the columns and charts of what could not be measured.
---@param result table
function aim.trim(result)
  local function kept(list, has)
    local those = {}
    for _, item in ipairs(list) do
      local any = false
      for _, run in ipairs(result.arms[1].runs) do
        any = any or has(run, item)
      end
      if any then table.insert(those, item) end
    end
    return those
  end
  local function has_metric(run, column)
    local value = run.metrics[column.metric]
    return value ~= nil and not (column.metric == OF_ITS_FEED and value == 0)
  end
  result.columns, result.comparison = kept(result.columns, has_metric), kept(result.comparison, has_metric)
  result.charts = kept(result.charts, function(run, chart) return #(run.series[chart.series] or {}) > 0 end)
end

return aim
