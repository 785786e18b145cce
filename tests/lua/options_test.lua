local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local argparse = require "argparse"
local config = require "wsb.load.config"
local options = require "wsb.command.options"

local function contains(text, part)
  assert(text:find(part, 1, true), ("'%s' does not contain '%s'"):format(text, part))
end

local function refused(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "expected an error")
  return err.message, err.exit
end

local function parse(specs, args)
  local declared = options.declare(specs, "options")
  local parser = argparse "test"
  options.add_flags(parser, declared)
  local ok, given = parser:pparse(args)
  assert(ok, given)
  return options.resolve(declared, given)
end

local SPECS = {
  clients = { "subscribers", 500 },
  mark = { "high-water mark", "256KiB" },
  stall_after = { "when", "2s" },
  rate = { "messages", "100/s" },
  slow = { "reads", "16KiB/s" },
  echo = { "send back", false },
  notice = { "tell", true },
  topic = { "where", "feed" },
  queue = { "how", "copy", choices = { "shared", "copy" } },
  spread = { "how far", "25%" },
}

t.test("the type is taken from the default", function()
  local types = {}
  for _, o in ipairs(options.declare(SPECS, "options")) do
    types[o.name] = o.type
  end
  assert.same({ clients = "count", mark = "size", stall_after = "duration", rate = "rate", slow = "byte_rate",
    echo = "boolean", notice = "boolean", topic = "text", queue = "choice", spread = "ratio" }, types)
end)

t.test("defaults are values in base units", function()
  local opt = parse(SPECS, {}).values
  assert.equal(500, opt.clients)
  assert.equal(262144, opt.mark)
  assert.equal(2, opt.stall_after)
  assert.equal(16384, opt.slow)
  assert.equal(0.25, opt.spread)
  assert.equal(false, opt.echo)
  assert.equal(true, opt.notice)
end)

t.test("both ways to write a value, underscores as dashes", function()
  local opt = parse(SPECS, { "--mark", "1MiB", "--stall-after=250ms", "--queue=shared" }).values
  assert.equal(1048576, opt.mark)
  assert.equal(0.25, opt.stall_after)
  assert.equal("shared", opt.queue)
end)

t.test("flags without a value, also the other way round", function()
  local opt = parse(SPECS, { "--echo", "--no-notice" }).values
  assert.equal(true, opt.echo)
  assert.equal(false, opt.notice)
end)

t.test("what differs from the defaults can be replayed", function()
  local given = parse(SPECS, { "--no-notice", "--mark=1MiB", "--clients=500" }).given
  assert.same({ { flag = "--mark", text = "1MiB" }, { flag = "--no-notice" } }, given)
end)

t.test("a value that does not parse names flag, value and what is accepted", function()
  local message, exit = refused(parse, SPECS, { "--mark=12x" })
  assert.equal(64, exit)
  assert.equal("--mark: '12x' is not accepted: give a size in bytes, such as 64KiB", message)
end)

t.test("a choice names the choices", function()
  local message = refused(parse, SPECS, { "--queue=both" })
  assert.equal("--queue: 'both' is not accepted: give one of shared, copy", message)
end)

t.test("declarations are checked", function()
  local function declare(specs)
    local message, exit = refused(options.declare, specs, "options")
    assert.equal(70, exit)
    return message
  end
  contains(declare { mark = { "x", "12x", type = "size" } }, "options.mark[2]: '12x' is not accepted")
  contains(declare { mark = "256KiB" }, "options.mark: not accepted")
  contains(declare { mark = { "x", 1, typ = "size" } }, "options.mark.typ: no such field")
  contains(declare { mark = { "x", 1, type = "siz" } }, "did you mean size?")
  contains(declare { Mark = { "x", 1 } }, "use small letters")
end)

t.test("$name alone is the value, inside text it is what was written", function()
  local chosen = parse(SPECS, { "--mark=1MiB" })
  local original = { server = { high_water_mark = "$mark", n = 3 }, "max<$mark" }
  local result = options.substitute(original, chosen, "arms")
  assert.same({ server = { high_water_mark = 1048576, n = 3 }, "max<1MiB" }, result)
end)

t.test("an unknown $name says where it stands and what was meant", function()
  local arms = { { server = { high_water_mark = "$mrk" } } }
  local message = refused(options.substitute, arms, parse(SPECS, {}), "arms")
  assert.equal("arms[1].server.high_water_mark: '$mrk': no such option: did you mean mark?", message)
end)

t.test("substitution leaves functions and the original alone", function()
  local fn = function() end
  local original = { a = "$mark", f = fn }
  assert.equal(fn, options.substitute(original, parse(SPECS, {}), "x").f)
  assert.equal("$mark", original.a)
end)

t.test("what a running server cannot change is neither accepted nor suggested", function()
  local function set(values) return refused(config.encode, "server", values, "ctx.server:set", true) end
  contains(set { port = 1 }, "ctx.server:set.port: is fixed when the server starts: use one of ")
  contains(set { high_water_mrk = 1 }, "did you mean high_water_mark?")
  local list = set { nothing_like_it = 1 }
  contains(list, "no such option of the server: use one of ")
  assert.is_nil(list:find(" path,", 1, true))
  assert.same({ high_water_mark = "1" }, config.encode("server", { high_water_mark = 1 }, "x", true))
end)

t.test("server options as flags, renamed and back", function()
  local specs = options.of_server { rename = { feed_rate = "feed" }, except = { "path" } }
  assert.is_nil(specs.path)
  local opt = parse(specs, { "--feed=100/s", "--high-water-mark", "1MiB", "--no-gap-notice" }).values
  local values = options.for_server(specs, opt)
  assert.equal(100, values.feed_rate)
  assert.equal(1048576, values.high_water_mark)
  assert.equal(false, values.gap_notice)
  assert.equal("close", values.on_overflow)
end)
