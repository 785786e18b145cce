#include "base/hist.h"

#include <math.h>

#define TOP_NS ((UINT64_C(1) << HIST_TOP_BITS) - 1)

/* Values below 2 * HIST_STEPS have a bucket each; above, every doubling halves the resolution. */
static unsigned bucket_of(uint64_t value_ns)
{
    unsigned top_bit = 63 - (unsigned)__builtin_clzll(value_ns | HIST_STEPS);
    unsigned shift = top_bit - HIST_STEP_BITS;
    return shift * HIST_STEPS + (unsigned)(value_ns >> shift);
}

/* The highest value that falls into the bucket. */
static uint64_t upper_edge(unsigned bucket)
{
    unsigned shift = bucket < HIST_STEPS ? 0 : bucket / HIST_STEPS - 1;
    uint64_t step = bucket - shift * HIST_STEPS;
    return ((step + 1) << shift) - 1;
}

/* There is one writer, so load, add and store need not be one step; but another process may be reading, and
 * it must never see half a cell. */
static void cell_set(uint64_t *cell, uint64_t value)
{
    __atomic_store_n(cell, value, __ATOMIC_RELAXED);
}

static uint64_t cell_get(const uint64_t *cell)
{
    return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

static void cell_add(uint64_t *cell, uint64_t more)
{
    cell_set(cell, cell_get(cell) + more);
}

static void cell_sub(uint64_t *cell, uint64_t less)
{
    cell_set(cell, cell_get(cell) - less);
}

static void raise_max(struct hist *h, uint64_t value_ns)
{
    if (value_ns > h->max_ns)
        cell_set(&h->max_ns, value_ns);
}

void hist_record(struct hist *h, uint64_t value_ns)
{
    if (value_ns > TOP_NS)
        value_ns = TOP_NS;
    cell_add(&h->bucket[bucket_of(value_ns)], 1);
    cell_add(&h->count, 1);
    cell_add(&h->sum_ns, value_ns);
    raise_max(h, value_ns);
}

void hist_merge(struct hist *h, const struct hist *from)
{
    cell_add(&h->count, cell_get(&from->count));
    cell_add(&h->sum_ns, cell_get(&from->sum_ns));
    raise_max(h, cell_get(&from->max_ns));
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        cell_add(&h->bucket[i], cell_get(&from->bucket[i]));
}

static uint64_t highest_edge(const struct hist *h)
{
    for (unsigned i = HIST_BUCKETS; i-- > 0;)
        if (h->bucket[i])
            return upper_edge(i);
    return 0;
}

void hist_subtract(struct hist *h, const struct hist *earlier)
{
    cell_sub(&h->count, cell_get(&earlier->count));
    cell_sub(&h->sum_ns, cell_get(&earlier->sum_ns));
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        cell_sub(&h->bucket[i], cell_get(&earlier->bucket[i]));
    uint64_t edge = highest_edge(h);
    if (edge < h->max_ns)
        cell_set(&h->max_ns, edge);
}

/* Nearest rank, 1 to total. A product that is whole but for rounding (9.8 % of 3000) must not move up one.
 */
static uint64_t rank_of(double percent, uint64_t total)
{
    double rank = percent * (double)total / 100;
    rank = ceil(rank - rank * 1e-12);
    if (rank < 1)
        return 1;
    return rank < (double)total ? (uint64_t)rank : total;
}

uint64_t hist_percentile(const struct hist *h, double percent, uint64_t missing)
{
    uint64_t count = cell_get(&h->count), max_ns = cell_get(&h->max_ns);
    if (count + missing == 0)
        return 0;
    uint64_t rank = rank_of(percent, count + missing);
    if (rank > count)
        return UINT64_MAX;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += cell_get(&h->bucket[i]);
        if (seen >= rank)
            return upper_edge(i) < max_ns ? upper_edge(i) : max_ns;
    }
    return max_ns; /* read while it was being written: the last value is not in its bucket yet */
}
