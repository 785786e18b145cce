-- `wsb guards`: every guard tried from outside, on wsb's own server and on one that others wrote.

local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local PEERS = uv.fs_realpath "tests/peers"

-- Runs it in a directory of its own; the rows by name, and what was found there.
local function guards(...)
  local dir = t.tmpdir()
  local r = lab.run(dir, { "guards", "--quiet", ... })
  local rows, result, path = {}, lab.result(dir, "guards")
  for _, row in ipairs(result.rows) do rows[row.name] = row end
  lab.nothing_left(r)
  return r, rows, result, path
end

local function is(rows, name, verdict, came)
  local row = assert(rows[name], name)
  assert(row.verdict == verdict and (not came or row.came == came),
    ("%s: %s, %s"):format(name, row.verdict, row.came or row.reason))
end

-- A server of npm ws: its URL.
local function toy(...)
  if not uv.fs_stat(PEERS .. "/node_modules/ws") then t.skip "npm could not fetch ws" end
  local process = t.start { "node", PEERS .. "/toy.js", ... }
  return (process:line("^wsb: serving (ws://.+)$", 20))
end

t.test("wsb's own server holds every row, and the others receive everything meanwhile", function()
  local r, rows, result, path = guards()
  local failed = {}
  for _, row in ipairs(result.rows) do
    if row.verdict ~= "held" then
      table.insert(failed, ("%s: %s, not %s"):format(row.name, row.came or row.reason, row.expected))
    end
  end
  is(rows, "the others receive", "held", "100 %")
  assert(#failed == 0, table.concat(failed, "\n"))
  assert(r.code == 0 and r.stdout:find "\nHELD  %d+ held, 0 failed, 0 not applicable\n")
  for _, name in ipairs { "report.md", "report.html", "script.lua", "env.json", "server.log" } do
    assert(lab.read(path .. "/" .. name), name)
  end
end)

t.test("another's server is judged by what it answers", function()
  local url = toy("65536", "https://app.example")
  local r, rows, result, path = guards("--target", url, "--origin", "https://app.example",
    "--max-message", "64KiB")
  for _, name in ipairs { "Origin: another site's", "Origin: its own", "message: one frame",
    "message: fragments", "message: inflated", "message: at the limit", "frame: unmasked", "text: UTF-8",
    "the others stay", "the others receive" } do
    is(rows, name, "held")
  end
  is(rows, "head: two hosts", "FAILED", "101")
  is(rows, "fragments", "n/a")
  assert(rows.fragments.reason == "needs the server's limit: give --max-fragments")
  is(rows, "token: in the query", "n/a")
  assert(r.code == 1 and result.verdict == "FAILED")
  local line = "| head: two hosts | Host twice | 400 | 101 | FAILED |"
  assert(lab.read(path .. "/report.md"):find(line, 1, true), "report.md")
end)

t.test("a guard that is not there is a failed row", function()
  local r, rows = guards("--target", toy(), "--origin", "https://app.example", "--max-message", "64KiB",
    "--message-timeout", "100ms")
  is(rows, "Origin: another site's", "FAILED", "101")
  is(rows, "message: one frame", "FAILED", "still open")
  is(rows, "message: inflated", "FAILED", "still open")
  is(rows, "deadline: slow message", "FAILED", "still open")
  is(rows, "the others receive", "held", "100 %")
  assert(r.code == 1)
end)

local function refused(code, text, ...)
  local dir = t.tmpdir()
  local r = lab.run(dir, { "guards", "--quiet", ... })
  assert(r.code == code and r.stdout == "", ("code %d"):format(r.code))
  assert(r.stderr:find(text, 1, true), "it does not say why")
  assert(#lab.names(dir) == 0, "a file was left behind")
  lab.nothing_left(r)
end

t.test("only this machine is a target, unless another is named", function()
  refused(64, "'192.0.2.1' is not this machine", "--target", "ws://192.0.2.1/feed", "--allow-remote",
    "192.0.2.2")
  refused(64, "'192.0.2.1' is not this machine", "--target", "ws://192.0.2.1/feed")
  refused(64, "'127.0.0.1.example' is not this machine", "--target", "ws://127.0.0.1.example/")
  refused(64, "give ws://HOST:PORT/PATH", "--target", "http://127.0.0.1/")
  refused(64, "give ws://HOST:PORT/PATH", "--target", "ws://127.0.0.1:99999/")
end)

t.test("a target that lets nobody in is told, not judged", function()
  refused(69, "Connection refused", "--target", "ws://127.0.0.1:1/")
  refused(69, "no upgrade: 403", "--target", toy("0", "https://app.example"))
end)

t.test("an interrupt leaves nothing", function()
  local dir = t.tmpdir()
  local process = lab.start(dir, { "guards" })
  process:line("message rate", 20)
  process:signal "sigint"
  assert(process:wait(10) and process.code == 130, "code")
  assert(#lab.names(dir) == 0, "a file was left behind")
  lab.nothing_left(process)
end)
