/* One clock: CLOCK_MONOTONIC, the same for every process of the machine, so that a time written by one can be
 * compared by another. */
#pragma once

#include <stdint.h>

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_US 1000ULL

uint64_t clock_now_ns(void);
