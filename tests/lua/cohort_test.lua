local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local cohort = require "wsb.load.cohort"

local PER_PROCESS = 19936

local function share(clients, source)
  return { clients = clients, source = source }
end

t.test("a few clients are one process", function()
  assert.same({ share(200, 1) }, cohort.deal(200, PER_PROCESS, {}))
end)

t.test("at most 14,000 clients from one source address", function()
  assert.same({ share(14000, 1), share(14000, 2), share(2000, 3) }, cohort.deal(30000, PER_PROCESS, {}))
end)

t.test("what other cohorts took of an address counts", function()
  local used = { 13000 }
  assert.same({ share(1000, 1), share(1000, 2) }, cohort.deal(2000, PER_PROCESS, used))
  assert.same({ 14000, 1000 }, used)
end)

t.test("no more in a process than its descriptors allow", function()
  assert.same({ share(900, 1), share(100, 1) }, cohort.deal(1000, 900, {}))
end)

t.test("too few descriptors: number wanted, number available, remedy", function()
  cohort.check_descriptors(19936, "the server", "use fewer clients")
  local ok, err = pcall(cohort.check_descriptors, 19937, "the server", "use fewer clients")
  assert.is_false(ok)
  assert.equal(69, err.exit)
  assert.equal("descriptors: 20001 wanted by the server, 20000 available: raise the hard limit (`ulimit -Hn "
    .. "20001` as root), or use fewer clients", err.message)
end)

t.test("a stall becomes swarm options and a window", function()
  local options = {}
  local faults = { { type = "stall", after = "2s", duration = "5s" } }
  local read = cohort.read_faults(faults, options, "ctx:clients")
  assert.same({ stall_after = 2, stall_duration = 5 }, options)
  assert.same({ { type = "stall", label = "does not read", from_s = 2, to_s = 7 } }, read)
end)

t.test("a stall from the start is not `never`, which 0 would mean", function()
  local options = {}
  cohort.read_faults({ { type = "stall" } }, options, "ctx:clients")
  assert.is_true(options.stall_after > 0)
end)

t.test("slow reading becomes a read rate", function()
  local options = {}
  cohort.read_faults({ { type = "slow", rate = "16KiB/s" } }, options, "ctx:clients")
  assert.same({ read_rate = "16KiB/s" }, options)
end)

t.test("an unknown fault, or a field it does not have", function()
  local function refusal(fault)
    local ok, err = pcall(cohort.read_faults, { fault }, {}, "ctx:clients")
    assert.is_false(ok)
    return err.message
  end
  assert.equal("ctx:clients.faults[1].type: 'stal' is not accepted: give stall or slow",
    refusal { type = "stal" })
  assert.equal("ctx:clients.faults[1].afer: no such field of a stall fault",
    refusal { type = "stall", afer = 1 })
  assert.equal("ctx:clients.faults[1].rate: missing: give one such as 16KiB/s", refusal { type = "slow" })
end)
