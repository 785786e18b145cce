local assert = require "luassert"
local t = require "harness"
require "lua.fake_core"
local raw = require "wsb.load.raw"

t.test("a URL is taken apart, or refused", function()
  assert.same({ "127.0.0.1", 3000, "/feed?x=1", false }, { raw.parse "ws://127.0.0.1:3000/feed?x=1" })
  assert.same({ "localhost", 80, "/", false }, { raw.parse "ws://localhost" })
  assert.same({ "::1", 9, "/a", false }, { raw.parse "ws://[::1]:9/a" })
  assert.same({ "a", 443, "/", true }, { raw.parse "wss://a" })
  for _, url in ipairs { "", "wsss://a/", "wss://", "http://a/", "ws://", "ws://a:0/", "ws://a:65536/",
    "ws://a:x/", "ws://a/b c", "ws://a/#b", "ws://a:1x" } do
    assert.is_nil(raw.parse(url), url)
  end
end)

t.test("a frame is masked and announces its length in the shortest form", function()
  assert.equal("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", raw.frame(raw.TEXT, "Hello")) -- RFC 6455, 5.7
  assert.equal("\x82\xFE\x00\x7E", raw.frame(raw.BINARY, ("x"):rep(126)):sub(1, 4))
  assert.equal("\x82\xFF\0\0\0\0\0\1\0\0", raw.frame(raw.BINARY, ("x"):rep(65536)):sub(1, 10))
end)

t.test("a frame is as wrong as it is asked to be", function()
  assert.equal("\x81\x05Hello", raw.frame(raw.TEXT, "Hello", { mask = false }))
  assert.equal("\x41\x00", raw.frame(raw.TEXT, "", { mask = false, fin = false, rsv = 4 }))
  assert.equal("\x82\xFE\x10\x00\x37\xfa\x21\x3d", raw.frame(raw.BINARY, "", { length = 4096 }))
end)
