-- report.html in a real browser, as wide as a desk and as narrow as a phone.

local browser = require "browser"
local lab = require "lab"
local t = require "harness"
local uv = require "luv"

local DIR = lab.directory()

-- A frame as wide as the screen would be, and what the page in it measures.
local WRAPPER = [[
<!doctype html>
<iframe src="file://%s" style="width: %dpx; height: 900px; border: 0"></iframe>
<pre></pre>
<script>
onload = () => {
    const page = frames[0], root = page.document.scrollingElement;
    const charts = [...page.document.querySelectorAll("svg")].filter(
        (svg) => svg.getBoundingClientRect().width > 100);
    const right = Math.max(...charts.map((svg) => svg.getBoundingClientRect().right));
    document.querySelector("pre").textContent = [
        `inner=${page.innerWidth}`, `scroll=${root.scrollWidth}`, `charts=${charts.length}`,
        `right=${Math.ceil(right)}`, `title=${page.document.title}`,
    ].join("\n");
};
</script>
]]

-- The figures that the page in `path` gives at that width, and what the browser had to say.
local function measure(path, width)
  local dir = t.tmpdir()
  lab.write(dir .. "/wrapper.html", WRAPPER:format(path, width))
  local flags = { "--window-size=1400,1000", "--dump-dom", "--allow-file-access-from-files",
    "--enable-logging=stderr" }
  local r = t.run(browser.command("file://" .. dir .. "/wrapper.html", flags), { timeout = 60 })
  assert(r.code == 0, "chromium")
  local found = {}
  for name, value in r.stdout:match("<pre>(.-)</pre>"):gmatch "(%l+)=([^\n]*)" do
    found[name] = tonumber(value) or value
  end
  return found, r.stderr
end

local function fits(found, width)
  return found.inner == width and found.scroll <= width and found.right <= width
end

t.test("a run leaves a report", function()
  local flags = { duration = "2s", size = "16KiB" }
  assert(lab.run(DIR, lab.backpressure(flags)).code <= 2)
  assert(uv.fs_stat(DIR .. "/runs/backpressure/latest/report.html"))
end)

for _, width in ipairs { 1280, 390 } do
  t.test(("it fits %d pixels, with its charts, and the console stays empty"):format(width), function()
    local result, path = lab.result(DIR)
    local found, said = measure(path .. "/report.html", width)
    assert(fits(found, width), ("%s pixels wide, charts to %s"):format(found.scroll, found.right))
    assert(#result.charts > 0 and found.charts >= #result.charts, ("%s charts"):format(found.charts))
    assert(found.title == "backpressure: " .. result.verdict.word, found.title)
    assert(not said:find "CONSOLE", "the console")
  end, { timeout = 90 })
end

t.test("a page that does not fit would be noticed, and an error in it", function()
  local dir = t.tmpdir()
  lab.write(dir .. "/wide.html",
    '<!doctype html><title>wide</title><svg width="500" height="9"></svg><script>undefined.x</script>')
  local found, said = measure(dir .. "/wide.html", 390)
  assert(not fits(found, 390) and said:find "CONSOLE")
end, { timeout = 90 })
