-- Statistics for a handful of runs. n counts runs and is small and the tests count instead of
-- approximating. Infinite values are legal everywhere and rank highest (a message that never arrived is
-- infinitely late); NaN is not.

local stats = {}

---A difference with a p below this is called one.
stats.ALPHA = 0.05

---Fewest runs per arm for which a bootstrap interval means something.
stats.INTERVAL_RUNS = 5

-- Above this many ways to split the runs into two arms the normal approximation is good, and counting slow.
local EXACT_SPLITS = 1e9

---@param n integer
---@param k integer
---@return number
local function binomial(n, k)
  local ways = 1.0
  for i = 1, math.min(k, n - k) do
    ways = ways * (n - i + 1) / i
  end
  return ways
end

---The value below which the share `q` of the sample lies, interpolated between neighbours (R's type 7).
---@param values number[]
---@param q number  0..1
---@return number?  -- nil for an empty sample
function stats.quantile(values, q)
  if #values == 0 then
    return nil
  end
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local place = 1 + q * (#sorted - 1)
  local low, high = sorted[math.floor(place)], sorted[math.ceil(place)]
  if low == high then -- also when both are infinite, whose difference is not a number
    return low
  end
  return low + (place - math.floor(place)) * (high - low)
end

---@param values number[]
---@return number?  -- nil for an empty sample
function stats.median(values)
  return stats.quantile(values, 0.5)
end

-- Mid-ranks of the pooled sample, doubled so that ties keep them whole; and the sum of t^3 - t over the ties.
local function doubled_ranks(values)
  local order, ranks, ties = {}, {}, 0
  for i = 1, #values do
    order[i] = i
  end
  table.sort(order, function(a, b) return values[a] < values[b] end)
  local first = 1
  while first <= #order do
    local last = first
    while last < #order and values[order[last + 1]] == values[order[first]] do
      last = last + 1
    end
    for i = first, last do
      ranks[order[i]] = first + last
    end
    local tied = last - first + 1
    ties = ties + tied ^ 3 - tied
    first = last + 1
  end
  return ranks, ties
end

-- For each sum, the number of ways to choose `size` of the ranks that add up to it.
local function count_sums(ranks, size)
  local ways = { [0] = { [0] = 1 } }
  for k = 1, size do
    ways[k] = {}
  end
  for _, rank in ipairs(ranks) do
    for k = size, 1, -1 do
      local into = ways[k]
      for sum, count in pairs(ways[k - 1]) do
        into[sum + rank] = (into[sum + rank] or 0) + count
      end
    end
  end
  return ways[size]
end

-- Share of all splits whose rank sum lies at least as far from its mean as the one observed.
local function exact_p(ranks, size, distance, mean)
  local extreme, all = 0, 0
  for sum, count in pairs(count_sums(ranks, size)) do
    all = all + count
    if math.abs(sum - mean) >= distance then
      extreme = extreme + count
    end
  end
  return extreme / all
end

-- P(|Z| > z) of the standard normal by a Chebyshev fit of erfc, good to 1.2e-7 (Numerical Recipes, 6.2).
local function normal_two_sided(z)
  local x = math.abs(z) / math.sqrt(2)
  local t = 1 / (1 + x / 2)
  local fit = { 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277 }
  local sum = 0
  for i = #fit, 1, -1 do
    sum = fit[i] + t * sum
  end
  return t * math.exp(-x * x - 1.26551223 + t * sum)
end

local function approximate_p(n1, n2, ties, distance)
  local n = n1 + n2
  local variance = n1 * n2 / 12 * (n + 1 - ties / (n * (n - 1)))
  if variance <= 0 then
    return 1
  end
  local u_distance = math.max(0, distance / 2 - 0.5)
  return math.min(1, normal_two_sided(u_distance / math.sqrt(variance)))
end

---Mann-Whitney U, two-sided. Exact, ties included, up to 1e9 splits (16 runs per arm); beyond that the normal
---approximation with tie and continuity corrections.
---@param a number[]
---@param b number[]
---@return number? p  -- nil when a sample is empty
---@return number? u  -- pairs in which `a` is the greater, ties counted half
---@return ("exact"|"normal")? method
function stats.mann_whitney(a, b)
  local n1, n2 = #a, #b
  if n1 == 0 or n2 == 0 then
    return nil
  end
  local pooled = table.move(b, 1, n2, n1 + 1, table.move(a, 1, n1, 1, {}))
  local ranks, ties = doubled_ranks(pooled)
  local sum = 0
  for i = 1, n1 do
    sum = sum + ranks[i]
  end
  local mean = n1 * (n1 + n2 + 1)
  local distance = math.abs(sum - mean)
  local u = (sum - n1 * (n1 + 1)) / 2
  if binomial(n1 + n2, n1) <= EXACT_SPLITS then
    return exact_p(ranks, n1, distance, mean), u, "exact"
  end
  return approximate_p(n1, n2, ties, distance), u, "normal"
end

---The smallest p that Mann-Whitney can reach with so many runs; when it is not below ALPHA, n is too small to
---tell.
---@param n1 integer
---@param n2 integer
---@return number
function stats.smallest_p(n1, n2)
  return math.min(1, 2 / binomial(n1 + n2, n1))
end

---Fisher's exact test, two-sided: `hits1` of `n1` against `hits2` of `n2`.
---@param hits1 integer
---@param n1 integer
---@param hits2 integer
---@param n2 integer
---@return number p
function stats.fisher(hits1, n1, hits2, n2)
  local hits = hits1 + hits2
  local all = binomial(n1 + n2, hits)
  local function chance(k)
    return binomial(n1, k) * binomial(n2, hits - k) / all
  end
  local observed = chance(hits1) * (1 + 1e-7) -- equal chances may differ in the last bit
  local p = 0
  for k = math.max(0, hits - n2), math.min(n1, hits) do
    if chance(k) <= observed then
      p = p + chance(k)
    end
  end
  return math.min(1, p)
end

-- A generator of its own (Knuth's MMIX constants), so that nobody's math.random is disturbed.
local function generator(seed)
  local state = seed
  return function(limit)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % limit + 1
  end
end

local function resampled_median(values, random)
  local drawn = {}
  for i = 1, #values do
    drawn[i] = values[random(#values)]
  end
  return stats.median(drawn)
end

local function why_no_interval(base, treatment)
  if math.min(#base, #treatment) < stats.INTERVAL_RUNS then
    return ("n too small: an interval needs %d runs per arm"):format(stats.INTERVAL_RUNS)
  end
  for _, values in ipairs { base, treatment } do
    for _, value in ipairs(values) do
      if math.abs(value) == math.huge then
        return "a value is infinite"
      end
    end
  end
  for _, value in ipairs(base) do
    if value <= 0 then
      return "a base value is not above zero"
    end
  end
end

---Percentile bootstrap interval (95 %) of median(treatment) / median(base); the same seed gives the same one.
---@param base number[]
---@param treatment number[]
---@param seed? integer       default 1
---@param resamples? integer  default 2000
---@return {ratio: number, low: number, high: number}?
---@return string? reason  -- why none can be offered
function stats.ratio_interval(base, treatment, seed, resamples)
  local reason = why_no_interval(base, treatment)
  if reason then
    return nil, reason
  end
  local random, ratios = generator(seed or 1), {}
  for i = 1, resamples or 2000 do
    ratios[i] = resampled_median(treatment, random) / resampled_median(base, random)
  end
  return {
    ratio = stats.median(treatment) / stats.median(base),
    low = stats.quantile(ratios, 0.025),
    high = stats.quantile(ratios, 0.975),
  }
end

return stats
