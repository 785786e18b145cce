-- make install: the program and the library work from where it put them, and make uninstall takes them away.

local served = require "served"
local t = require "harness"
local uv = require "luv"

-- As it was given to the make that built it: under another name all of it would be built once more.
local BUILD = t.wsb:match "^(.*)/[^/]+$"
local HERE = uv.cwd() .. "/"
if BUILD:sub(1, #HERE) == HERE then BUILD = BUILD:sub(#HERE + 1) end

-- make, on the build that is under test.
local function make(target, to, umask)
  local r = t.run({ "sh", "-c", 'umask "$0" && exec make "$@"', umask or "022", target, "V=1", "PREFIX=/usr",
    "DESTDIR=" .. to, "BUILD=" .. BUILD, t.sanitized and "SAN=1" or nil }, { timeout = 120 })
  assert(r.code == 0, target)
  return to .. "/usr"
end

local function files(directory)
  return t.run({ "find", directory, "-type", "f" }).stdout
end

t.test("the installed program lists its scripts and serves", function()
  local prefix = make("install", t.tmpdir())
  local list = t.run({ prefix .. "/bin/wsb", "list" }, { cwd = "/" })
  assert(list.code == 0 and list.stdout == t.run({ t.wsb, "list" }).stdout, "list")
  local server = served.run { prefix .. "/bin/wsb", "serve" }
  server:open():round_trip()
  assert(server:finish "sigterm" == 0)
  server:leave()
end, { timeout = 130 })

t.test("everybody may read what was installed, whatever the umask", function()
  local prefix = make("install", t.tmpdir(), "077")
  local closed = t.run { "find", prefix, "-not", "-perm", "-444", "-o", "-type", "d", "-not",
    "-perm", "-555" }
  assert(closed.stdout == "", closed.stdout)
end, { timeout = 130 })

t.test("a program of one file compiles with pkg-config and runs a server and a swarm on one loop", function()
  local to = t.tmpdir()
  local prefix = make("install", to)
  local flags = t.run({ "pkg-config", "--cflags", "--libs", "--define-variable=prefix=" .. prefix, "wsb" },
    { env = { PKG_CONFIG_PATH = prefix .. "/lib/pkgconfig" } })
  assert(flags.code == 0, "pkg-config")
  local compile = { "cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", to .. "/demo",
    "tests/embed/demo.c" }
  if t.sanitized then table.insert(compile, "-fsanitize=address,undefined") end
  for flag in flags.stdout:gmatch "%S+" do
    table.insert(compile, flag)
  end
  assert(t.run(compile, { timeout = 60 }).code == 0, "cc")

  local demo = t.run { to .. "/demo" }
  assert(demo.code == 0 and demo.stderr == "")
  assert(demo.stdout == table.concat({
    "set 0",
    "refused: value not accepted: high_water_mark: 'plenty' is not accepted; give a size in bytes, such as "
      .. "64KiB",
    "opened 3 failed 0",
    "published to 3",
    "received 40, open 0", "" }, "\n"), demo.stdout)
end, { timeout = 130 })

t.test("the example in wsb.h compiles as it stands", function()
  local to = t.tmpdir()
  local example = {}
  for line in io.lines "core/wsb.h" do
    local code = line:match "^ %*     ?(.*)$"
    if line == " *" and #example > 0 then code = "" end
    if line:find "^ %* %u" and #example > 0 then break end
    table.insert(example, code)
  end
  local source = assert(io.open(to .. "/example.c", "w"))
  source:write(table.concat(example, "\n"), "\n")
  source:close()
  assert(#example > 10, "no example found")
  local compiled = t.run { "cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Icore", "-c", "-o",
    to .. "/example.o", to .. "/example.c" }
  assert(compiled.code == 0, compiled.stderr)
end)

t.test("the library shows nothing but wsb_*", function()
  local shown = t.run { "nm", "-g", "--defined-only", BUILD .. "/libwsb.a" }
  assert(shown.stdout:find " T wsb_server_new\n")
  for name in shown.stdout:gmatch " [A-Z] (%S+)\n" do
    assert(name:find "^wsb_", name)
  end
end)

t.test("pkg-config knows the version and the directories of the installed library", function()
  local to = t.tmpdir()
  local prefix = make("install", to)
  local function ask(...)
    local env = { PKG_CONFIG_PATH = prefix .. "/lib/pkgconfig" }
    return t.run({ "pkg-config", ..., "wsb" }, { env = env }).stdout
  end
  assert(t.run({ t.wsb, "--version" }).stdout:find("wsb " .. ask("--modversion"):gsub("\n", ""), 1, true))
  assert(ask("--variable=prefix") == "/usr\n")
end)

t.test("uninstall leaves no file", function()
  local to = t.tmpdir()
  make("install", to)
  assert(files(to):find "/usr/bin/wsb\n" and files(to):find "/usr/share/wsb/lua/wsb/init.lua\n")
  make("uninstall", to)
  assert(files(to) == "", files(to))
end)
