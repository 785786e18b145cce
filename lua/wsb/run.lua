-- One run of one arm: set up, check, load, wait, collect, clean up.

local collect = require "wsb.measure.collect"
local context = require "wsb.load.context"
local errors = require "wsb.base.errors"
local network = require "wsb.load.network"
local sampler = require "wsb.measure.sampler"
local task = require "wsb.base.task"

local run = {}

local SETTLE_S = 3 -- what is still on its way when the schedule ends has this long to arrive

---@class wsb.Plan
---@field spec table                 the script's table, "$name" substituted
---@field opt table<string, any>
---@field selectors string[]         to be measured, beside the thresholds'
---@field sampled wsb.Sampled[]      series beside those that are always there
---@field limit_kind string
---@field network "auto"|"private"|"host"
---@field aim wsb.Aim?               at a server that is not wsb's
---@field seed integer
---@field root string                of the run directory
---@field dir string                 where the logs of this run go
---@field make_directory fun(path: string)
---@field terminal wsb.Terminal

-- The last words of a failed steady state go into the doubts; the workload is then not run.
local function steady(ctx, steps)
  for _, step in ipairs(steps or {}) do
    ctx:say("checking that " .. step[1])
    local met, why = step[2](ctx)
    if not met then
      local reason = why and (" (%s)"):format(why) or ""
      table.insert(ctx.doubts, ("the steady state was not met: %s%s"):format(step[1], reason))
      return false
    end
  end
  return true
end

-- Every publisher's schedule has to be over, also when the server is dead: the offered load stays the same.
local function wait_for_schedules(ctx)
  task.wait(function()
    for _, publisher in ipairs(ctx.publishers) do
      if not publisher:finished() then return false end
    end
    return true
  end)
end

local function settle(ctx)
  local messages = collect.offered(ctx)
  task.wait(function()
    if collect.dead(ctx) then return true end
    for _, group in ipairs(ctx.cohorts) do
      if #group.faults == 0 and collect.delivered(group:counts()) < messages * group.n then return false end
    end
    return true
  end, SETTLE_S)
end

local function load_it(ctx, plan, samples)
  if not steady(ctx, plan.spec.steady_state) then return end
  plan.spec.workload(ctx)
  ctx:start()
  wait_for_schedules(ctx)
  settle(ctx)
  samples:sample()
end

-- Rollbacks run in any case and all of them; then whatever the run started is ended.
local function clean_up(ctx, plan, background)
  task.shield(function()
    if background.task then background.task:cancel() end
    for _, step in ipairs(plan.spec.rollbacks or {}) do
      local ok, err = xpcall(step[2], errors.handler, ctx)
      if not ok then plan.terminal:note(("rollback '%s' failed: %s"):format(step[1], err)) end
    end
    ctx:close()
    network.leave()
  end)
end

---A fresh network for a run, when its script asks for one: nothing of the one before is left in it, not even
---in the kernel. network.leave ends it.
---@param plan {spec: table, network: "auto"|"private"|"host"}
---@return wsb.Network?
function run.enter_network(plan)
  local sysctls = plan.spec.network
  if not sysctls then return nil end
  local private = nil
  if plan.aim and plan.aim.target then private = false end -- which lives in the machine's
  if plan.network ~= "auto" then private = plan.network == "private" end
  return network.enter { private = private, sysctls = sysctls }
end

---@param plan wsb.Plan
---@param arm {name: string, server: table?, clients: table?}
---@param index integer
---@param thresholds wsb.Threshold[]
---@return table  a row of `runs` in the result
---@async
function run.once(plan, arm, index, thresholds)
  local terminal, background, samples = plan.terminal, {}, nil
  local ctx = context.new { opt = plan.opt, arm = arm, seed = plan.seed + index - 1, log_dir = plan.dir,
    limit_kind = plan.limit_kind, aim = plan.aim, progress = function(text) terminal:say(text) end,
    on_start = function(ctx)
      background.task = samples:run(function() terminal:update(samples, ctx) end)
    end }
  samples = sampler.new(ctx, plan.sampled)
  return errors.finally(function()
    ctx.network = run.enter_network(plan)
    plan.spec.setup(ctx)
    if not ctx.server then
      errors.raise(errors.SCRIPT, "setup: no server was started: call ctx:serve { ... } in it")
    end
    load_it(ctx, plan, samples)
    local row = collect.row(ctx, samples, plan.selectors, thresholds)
    row.index, row.network = index, ctx.network
    return row
  end, function() clean_up(ctx, plan, background) end)
end

return run
