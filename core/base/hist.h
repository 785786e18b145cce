/* Log-linear histogram of nanoseconds: 64 steps to each doubling, so a reading is at most 1.6 % off.
 *
 * Plain memory without pointers, so it lives in the shared stats page: one process records, others copy. */
#pragma once

#include <stdint.h>

enum {
    HIST_STEP_BITS = 6,
    HIST_STEPS = 1 << HIST_STEP_BITS,
    HIST_TOP_BITS = 42, /* 2^42 ns = 73 min; longer values count as that */
    HIST_BUCKETS = (HIST_TOP_BITS - HIST_STEP_BITS + 1) * HIST_STEPS
};

struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_record(struct hist *h, uint64_t value_ns);
/* Adds what `from` holds. */
void hist_merge(struct hist *h, const struct hist *from);
/* Takes away an earlier copy of the same histogram: what was recorded since. max_ns comes down to
 * the upper edge of the highest bucket left. */
void hist_subtract(struct hist *h, const struct hist *earlier);
/* The value at or below which `percent` (0..100) of count + missing values lie, as the bucket's upper edge
 * and never above max_ns. The missing are infinitely late: when the rank falls among them the answer is
 * UINT64_MAX. 0 when there are no values at all. */
uint64_t hist_percentile(const struct hist *h, double percent, uint64_t missing);
