-- runs/NAME/TIMESTAMP/: what a run leaves. It is written under a hidden name and renamed when complete, so
-- that an interrupted run leaves nothing.

local errors = require "wsb.base.errors"
local json = require "wsb.report.json"
local lfs = require "lfs"

local rundir = {}

---@class wsb.RunDir
---@field partial string   where files go until it is complete
---@field path string      where they will be
---@field private made string[]
local RunDir = { __name = "wsb.RunDir" }
RunDir.__index = RunDir

local function fail(path, why)
  errors.raise(errors.ENVIRONMENT, "runs: %s: %s: choose another place with --runs-dir", path, why)
end

-- Makes the directory and its parents; notes those that were not there.
local function make(path, made)
  if lfs.attributes(path, "mode") == "directory" then return end
  local parent = path:match("^(.+)/[^/]+$")
  if parent then make(parent, made) end
  local ok, why = lfs.mkdir(path)
  if not ok then fail(path, why) end
  table.insert(made, path)
end

local function remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for entry in lfs.dir(path) do
      if entry ~= "." and entry ~= ".." then remove(path .. "/" .. entry) end
    end
  end
  os.remove(path)
end

-- A name that is free: the time, and a number when two runs begin in one second.
local function free_name(parent)
  local stamp = os.date("!%Y%m%dT%H%M%SZ")
  local name, n = stamp, 1
  while lfs.symlinkattributes(parent .. "/" .. name) or lfs.symlinkattributes(parent .. "/." .. name) do
    n = n + 1
    name = ("%s-%d"):format(stamp, n)
  end
  return name
end

---@param root string  usually "runs"
---@param name string  of the script
---@return wsb.RunDir
function rundir.create(root, name)
  local parent = root:gsub("(.)/+$", "%1") .. "/" .. name
  local self = setmetatable({ made = {}, parent = parent }, RunDir)
  make(parent, self.made)
  self.name = free_name(parent)
  self.partial, self.path = parent .. "/." .. self.name, parent .. "/" .. self.name
  make(self.partial, self.made)
  return self
end

---@param name string  a file or directory inside
function RunDir:mkdir(name)
  make(name, self.made)
end

---@param name string
---@param text string
function RunDir:write(name, text)
  local path = self.partial .. "/" .. name
  local file, why = io.open(path, "w")
  if not file then fail(path, why) end
  local ok, trouble = file:write(text)
  local closed, late = file:close()
  if not ok or not closed then fail(path, trouble or late) end
end

---Writes everything a reader needs and gives the directory its name.
---@param result table
---@param source string  of the script
---@param report table   how it is told: markdown, html, and csv where there are samples
function RunDir:complete(result, source, report)
  self:write("result.json", json.encode(result))
  self:write("env.json", json.encode(result.environment))
  if report.csv then self:write("samples.csv", report.csv(result)) end
  self:write("report.md", report.markdown(result))
  self:write("report.html", report.html(result))
  self:write("script.lua", source)
  local ok, why = os.rename(self.partial, self.path)
  if not ok then fail(self.path, why) end
  self.done = true
  self:link_latest()
end

function RunDir:link_latest()
  local new = ("%s/.latest-%s"):format(self.parent, self.name)
  local ok, why = lfs.link(self.name, new, true)
  if ok then
    ok, why = os.rename(new, self.parent .. "/latest")
  end
  if not ok then fail(self.parent .. "/latest", why) end
end

---Removes what was made, unless it is complete. Idempotent.
function RunDir:discard()
  if self.done then return end
  remove(self.partial)
  for i = #self.made, 1, -1 do
    os.remove(self.made[i]) -- only an empty directory can be
  end
end

return rundir
