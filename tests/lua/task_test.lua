local assert = require "luassert"
local t = require "harness"
local fake = require "lua.fake_core"
local errors = require "wsb.base.errors"
local task = require "wsb.base.task"

local SIGINT, SIGTERM = 2, 15

local function interrupt(signal)
  fake.happen { kind = "signal", signal = signal }
end

t.test("the main task's result, and how long it slept", function()
  local from = fake.time
  local ok, result = task.run(function()
    task.sleep(2.5)
    return "done"
  end)
  assert.is_true(ok)
  assert.equal("done", result)
  assert.is_true(math.abs(fake.time - from - 2.5) < 1e-6)
end)

t.test("tasks take turns by their deadlines", function()
  local order = {}
  task.run(function()
    task.spawn(function()
      task.sleep(0.2)
      table.insert(order, "second")
    end)
    task.spawn(function()
      task.sleep(0.1)
      table.insert(order, "first")
    end)
    task.sleep(0.3)
    table.insert(order, "main")
  end)
  assert.same({ "first", "second", "main" }, order)
end)

t.test("wait returns the value, or nil and why", function()
  task.run(function()
    local there = false
    task.spawn(function()
      task.sleep(1)
      there = "value"
    end)
    assert.equal("value", task.wait(function() return there end, 5))
    local value, why = task.wait(function() return false end, 0.5)
    assert.is_nil(value)
    assert.equal("timeout", why)
  end)
end)

t.test("events reach the worker's listener", function()
  local worker, heard = {}, {}
  task.listen(worker, function(event) table.insert(heard, event.kind) end)
  task.run(function()
    fake.happen { kind = "ready", worker = worker }
    fake.happen { kind = "exit", worker = {} }
    task.sleep(0.1)
  end)
  assert.same({ "ready" }, heard)
end)

t.test("a Lua error keeps its traceback and exits 70", function()
  local ok, err = task.run(function() error("broken") end)
  assert.is_false(ok)
  assert.equal(70, err.exit)
  assert.truthy(err.message:find("broken", 1, true))
  assert.truthy(err.traceback:find("task_test.lua", 1, true))
end)

t.test("SIGINT is 130, SIGTERM is 143, raised where the task waits", function()
  for signal, exit in pairs { [SIGINT] = 130, [SIGTERM] = 143 } do
    local ok, err = task.run(function()
      interrupt(signal)
      task.sleep(10)
    end)
    assert.is_false(ok)
    assert.equal(exit, err.exit)
  end
end)

t.test("a script's pcall cannot swallow an interrupt", function()
  local passed
  local _, err = task.run(function()
    interrupt(SIGINT)
    pcall(task.sleep, 10)
    task.sleep(10)
    passed = true
  end)
  assert.is_nil(passed)
  assert.equal(130, err.exit)
end)

t.test("clean-up runs to its end in spite of a second signal", function()
  local steps = {}
  local ok, err = task.run(function()
    errors.finally(function()
      interrupt(SIGINT)
      task.sleep(10)
    end, function()
      task.shield(function()
        interrupt(SIGTERM)
        task.sleep(1)
        table.insert(steps, "slept")
        interrupt(SIGINT)
        task.sleep(1)
        table.insert(steps, "slept again")
      end)
    end)
  end)
  assert.is_false(ok)
  assert.equal(130, err.exit)
  assert.same({ "slept", "slept again" }, steps)
end)

t.test("a script that never pauses can be interrupted", function()
  interrupt(SIGINT)
  local ok, err = task.run(function()
    while true do end
  end)
  assert.is_false(ok)
  assert.equal(130, err.exit)
end)

t.test("await_signal takes the signal as a normal end", function()
  local ok, signal = task.run(function()
    interrupt(SIGTERM)
    local got = task.await_signal(function() return false end)
    task.sleep(1)
    return got
  end)
  assert.is_true(ok)
  assert.equal(SIGTERM, signal)
end)

t.test("await_signal ends without a signal when what it watches has ended", function()
  local _, signal = task.run(function()
    return task.await_signal(function() return true end)
  end)
  assert.is_nil(signal)
end)

t.test("a background task that fails stops the main task with its error", function()
  local ok, err = task.run(function()
    task.spawn(function() error("sampler broke") end)
    task.sleep(10)
  end)
  assert.is_false(ok)
  assert.truthy(err.message:find("sampler broke", 1, true))
end)

t.test("a cancelled task ends at its next pause and disturbs nobody", function()
  local beats = 0
  local ok = task.run(function()
    local background = task.spawn(function()
      while true do
        beats = beats + 1
        task.sleep(1)
      end
    end)
    task.sleep(2.5)
    background:cancel()
    task.sleep(5)
    assert.is_true(background:finished())
  end)
  assert.is_true(ok)
  assert.equal(3, beats)
end)

t.test("tasks that are left over are ended with the main task", function()
  local closed
  task.run(function()
    task.spawn(function()
      errors.finally(function() task.sleep(1000) end, function() closed = true end)
    end)
    task.sleep(0.1)
  end)
  assert.is_true(closed)
end)

t.test("a pause in a coroutine of the script's own is an error that says so", function()
  task.run(function()
    local ok, err = coroutine.resume(coroutine.create(function() task.sleep(1) end))
    assert.is_false(ok)
    assert.truthy(err.message:find("not from a coroutine of its own", 1, true))
  end)
end)
