-- What the tests of experiments share: a run of backpressure that is over in seconds, another user, and a
-- look at what is left when a run is over.

local child = require "child"
local cjson = require "cjson"
local t = require "harness"
local uv = require "luv"

local lab = {}

-- The sanitizers' own memory is in the server's; without their quarantine it stays small.
local LIMIT = t.sanitized and "96MiB" or "48MiB"
local ENV = { NO_COLOR = "1", ASAN_OPTIONS = t.sanitized and "quarantine_size_mb=1" or nil }

-- Backpressure, small: killed about two seconds after the load began. Many stall and few read, so that memory
-- is flat afterwards also on a machine that is busy with other things.
local SMALL = { ["memory-limit"] = LIMIT, mark = "128KiB", clients = "20", stalled = "80", rate = "120/s",
  size = "4KiB", ["stall-after"] = "200ms", duration = "4s" }

---@param path string
---@return string? text  nil when it cannot be read
function lab.read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

---@param path string
---@param text string
function lab.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

---Makes a self-signed certificate for this machine. Skips the test where openssl is not installed.
---@param dir string
---@param name string  its CN, and that of the files
---@return string certificate  path, PEM
---@return string key          likewise
function lab.certificate(dir, name)
  if t.run({ "sh", "-c", "command -v openssl" }).code ~= 0 then t.skip "openssl is not installed" end
  local certificate, key = ("%s/%s.pem"):format(dir, name), ("%s/%s.key"):format(dir, name)
  local made = t.run { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
    "-nodes", "-days", "2", "-subj", "/CN=" .. name, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
    "-keyout", key, "-out", certificate }
  assert(made.code == 0, made.stderr)
  return certificate, key
end

---The names in a directory, sorted; none when it does not exist.
---@param path string
---@return string[]
function lab.names(path)
  local names, scan = {}, uv.fs_scandir(path)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

---Starts wsb with `words` in `dir`.
---@param dir string
---@param words string[]
---@param prefix? string[]  a command to run it with
---@return child.Child
function lab.start(dir, words, prefix)
  local command = table.move(prefix or {}, 1, #(prefix or {}), 1, {})
  table.insert(command, t.wsb)
  return t.start(table.move(words, 1, #words, #command + 1, command), { cwd = dir, env = ENV })
end

---Runs it to its end.
---@param dir string
---@param words string[]
---@param prefix? string[]
---@return child.Child
function lab.run(dir, words, prefix)
  local process = lab.start(dir, words, prefix)
  assert(process:wait(t.sanitized and 120 or 60), "it went on")
  return process
end

---The words of a small backpressure run.
---@param flags? table<string, string>  by name, instead of or beside its own
---@return string[]
function lab.backpressure(flags)
  local all, words = {}, { "backpressure", "--quiet" }
  for _, from in ipairs { SMALL, flags or {} } do
    for name, value in pairs(from) do
      all[name] = value
    end
  end
  for name, value in pairs(all) do
    table.insert(words, ("--%s=%s"):format(name, value))
  end
  return words
end

---A directory that lasts as long as the test file.
---@return string path
function lab.directory()
  local path = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/wsb-test-XXXXXX"))
  lab.at_exit = setmetatable({}, { __gc = function() os.execute("rm -rf -- '" .. path .. "'") end })
  return path
end

---The newest run of a script that was run in `dir`.
---@param dir string
---@param name? string  default backpressure
---@return table result    result.json
---@return string path     of its directory
function lab.result(dir, name)
  local path = ("%s/runs/%s/latest"):format(dir, name or "backpressure")
  local text = assert(lab.read(path .. "/result.json"), "no result.json")
  return cjson.decode(text), path
end

-- Whether wsb, run with `prefix`, can have a cgroup here.
local function has_cgroup(prefix, dir)
  return lab.run(dir, { "doctor" }, prefix).stdout:find("memory limit +cgroup") ~= nil
end

---Skips the test where even root has no cgroup for its server.
function lab.need_cgroup()
  if not has_cgroup({}, t.tmpdir()) then t.skip "no memory cgroup can be had here" end
end

---What makes a command run as somebody who may not make a cgroup, and a directory of theirs. Skips the test
---where that cannot be.
---@return string[] prefix
---@return string dir
function lab.unprivileged()
  local prefix, dir = {}, t.tmpdir()
  if uv.getuid() == 0 then
    prefix = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
    assert(uv.fs_chown(dir, 65534, 65534))
  end
  if lab.run(dir, { "--version" }, prefix).code ~= 0 then t.skip "nobody may not run this build" end
  if has_cgroup(prefix, dir) then t.skip "everybody may make a cgroup here" end
  return prefix, dir
end

---Those that live of what `process` started and what they started, itself included, as `ps` shows them. They
---are in its session, also when it is gone.
---@param process child.Child
---@return string[]
function lab.living(process)
  local alive = {}
  local listed = child.run { "ps", "-o", "stat=,pid=,args=", "-s", tostring(process.pid) }
  for line in listed.stdout:gmatch "[^\n]+" do
    if not line:find "^Z" then alive[#alive + 1] = line end
  end
  return alive
end

---The paths of the cgroups that it made, a line each.
---@param process child.Child
---@return string
function lab.cgroups(process)
  local pattern = ("wsb-%d-*"):format(process.pid)
  return child.run({ "find", "/sys/fs/cgroup", "-type", "d", "-name", pattern }).stdout
end

---Makes sure that neither a process nor a cgroup is left of one that has ended.
---@param process child.Child
function lab.nothing_left(process)
  t.wait_until(function() return #lab.living(process) == 0 end, 5, "the last process to end")
  local groups = lab.cgroups(process)
  assert(groups == "", "left behind: " .. groups)
end

---Pids of the workers that are running in the session of `process`, by the role they play.
---@param process child.Child
---@param role "server"|"swarm"
---@return integer[]
function lab.workers(process, role)
  local pids = {}
  for _, line in ipairs(lab.living(process)) do
    local pid = line:match("^%S+%s+(%d+) wsb %-%-worker " .. role)
    if pid then pids[#pids + 1] = tonumber(pid) end
  end
  return pids
end

return lab
