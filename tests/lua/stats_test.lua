local t = require "harness"
local assert = require "luassert"
local stats = require "wsb.judge.stats"

local HUGE = math.huge

local function near(expected, actual, within)
  assert.is_true(math.abs(expected - actual) <= (within or 5e-5),
    ("expected %.6f, got %.6f"):format(expected, actual))
end

t.test("median of odd, even and empty samples", function()
  assert.equal(2, stats.median { 3, 1, 2 })
  assert.equal(2.5, stats.median { 4, 1, 2, 3 })
  assert.is_nil(stats.median {})
end)

t.test("median leaves the sample as it was", function()
  local values = { 3, 1, 2 }
  stats.median(values)
  assert.same({ 3, 1, 2 }, values)
end)

t.test("infinite values rank highest and never become NaN", function()
  assert.equal(2, stats.median { HUGE, 1, 2 })
  assert.equal(HUGE, stats.median { 1, HUGE })
  assert.equal(HUGE, stats.median { HUGE, HUGE, HUGE, HUGE })
  assert.equal(1, stats.quantile({ 1, HUGE }, 0))
end)

t.test("quantile interpolates as R's default does", function()
  near(1.75, stats.quantile({ 1, 2, 3, 4 }, 0.25)) -- quantile(1:4, .25)
  near(9.1, stats.quantile({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, 0.9)) -- quantile(1:10, .9)
  assert.equal(1, stats.quantile({ 2, 1 }, 0))
  assert.equal(2, stats.quantile({ 2, 1 }, 1))
end)

t.test("Mann-Whitney of separated samples is the smallest p there is", function()
  for n, p in pairs { [1] = 1, [2] = 0.3333, [3] = 0.1, [4] = 0.0286, [5] = 0.0079, [6] = 0.0022 } do
    local low, high = {}, {}
    for i = 1, n do
      low[i], high[i] = i, 100 + i
    end
    near(p, (stats.mann_whitney(low, high)))
    near(p, (stats.mann_whitney(high, low)))
    near(p, stats.smallest_p(n, n))
  end
end)

t.test("Mann-Whitney: U counts the pairs that the first sample wins", function()
  local _, u, method = stats.mann_whitney({ 1, 4, 5 }, { 2, 3, 6 })
  assert.equal(4, u)
  assert.equal("exact", method)
  _, u = stats.mann_whitney({ 1, 2 }, { 2, 3 })
  assert.equal(0.5, u)
end)

t.test("Mann-Whitney, textbook: Hollander and Wolfe, permeability of the chorioamnion", function()
  -- wilcox.test(x, y) in R: W = 35, p-value = 0.2544
  local x = { 0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46 }
  local y = { 1.15, 0.88, 0.90, 0.74, 1.21 }
  local p, u = stats.mann_whitney(x, y)
  assert.equal(35, u)
  near(0.2544, p)
end)

t.test("Mann-Whitney with ties counts the splits exactly", function()
  -- mid-ranks 1.5 1.5 3.5 3.5 5.5 5.5: of the 20 splits, 4 have a sum <= 6.5 or >= 14.5
  local p, _, method = stats.mann_whitney({ 1, 1, 2 }, { 2, 3, 3 })
  near(4 / 20, p)
  assert.equal("exact", method)
end)

t.test("Mann-Whitney of equal values tells nothing", function()
  near(1, (stats.mann_whitney({ 7, 7, 7, 7 }, { 7, 7, 7, 7 })))
end)

t.test("Mann-Whitney takes infinite values as tied at the top", function()
  near(0.0079, (stats.mann_whitney({ HUGE, HUGE, HUGE, HUGE, HUGE }, { 1, 2, 3, 4, 5 })))
  near(1, (stats.mann_whitney({ HUGE, HUGE }, { HUGE, HUGE })))
end)

t.test("Mann-Whitney of an empty sample is no answer", function()
  assert.is_nil(stats.mann_whitney({}, { 1 }))
end)

t.test("Mann-Whitney of many runs is the corrected normal approximation", function()
  local a, b = {}, {}
  for i = 1, 20 do
    a[i], b[i] = i, i + 6
  end
  -- U = 98; z = (|98 - 200| - 0.5) / sqrt(400/12 * (41 - 14 * 6 / (40 * 39))) = 2.747
  local p, u, method = stats.mann_whitney(a, b)
  assert.equal(98, u)
  assert.equal("normal", method)
  near(0.0060, p)
end)

t.test("the normal approximation is corrected for ties", function()
  local a, b = {}, {}
  for i = 1, 20 do
    a[i], b[i] = i > 17 and 1 or 0, i > 8 and 1 or 0
  end
  -- U = 110; z = (|110 - 200| - 0.5) / sqrt(400/12 * (41 - (25^3 - 25 + 15^3 - 15) / (40 * 39)))
  local p, u = stats.mann_whitney(a, b)
  assert.equal(110, u)
  near(0.00390, p)
end)

t.test("the normal approximation of equal values tells nothing either", function()
  local same = {}
  for i = 1, 30 do
    same[i] = 1
  end
  local p, _, method = stats.mann_whitney(same, same)
  assert.equal("normal", method)
  assert.equal(1, p)
end)

t.test("Fisher's exact test", function()
  near(0.0079, stats.fisher(5, 5, 0, 5))
  near(0.1, stats.fisher(3, 3, 0, 3))
  near(1, stats.fisher(2, 4, 2, 4))
  near(1, stats.fisher(0, 5, 0, 5))
  near(1, stats.fisher(5, 5, 5, 5))
  near(0.4857, stats.fisher(3, 4, 1, 4)) -- Fisher's tea-drinking lady, two-sided
  near(0.0028, stats.fisher(1, 12, 9, 12), 5e-5) -- fisher.test(matrix(c(1, 11, 9, 3), 2))
end)

t.test("the bootstrap interval surrounds the ratio and repeats with its seed", function()
  local base, treatment = { 100, 104, 98, 103, 101 }, { 10, 12, 11, 10.5, 11.5 }
  local interval = stats.ratio_interval(base, treatment, 7)
  near(11 / 101, interval.ratio)
  assert.is_true(interval.low < interval.ratio and interval.ratio < interval.high)
  assert.is_true(interval.low >= 10 / 104 and interval.high <= 12 / 98)
  assert.same(interval, stats.ratio_interval(base, treatment, 7))
end)

t.test("the bootstrap does not touch math.random", function()
  math.randomseed(11)
  local expected = math.random(1000000)
  math.randomseed(11)
  stats.ratio_interval({ 1, 2, 3, 4, 5 }, { 1, 2, 3, 4, 5 })
  assert.equal(expected, math.random(1000000))
end)

t.test("no interval without enough runs, or with values that have no ratio; the reason is told", function()
  local five = { 1, 2, 3, 4, 5 }
  local function reason(base, treatment)
    local interval, why = stats.ratio_interval(base, treatment)
    assert.is_nil(interval)
    return why
  end
  assert.matches("n too small", reason({ 1, 2, 3, 4 }, five))
  assert.matches("n too small", reason(five, { 1, 2, 3, 4 }))
  assert.matches("infinite", reason(five, { 1, 2, 3, 4, HUGE }))
  assert.matches("not above zero", reason({ 0, 1, 2, 3, 4 }, five))
end)
