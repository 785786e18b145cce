/* A moment in four bytes, for what there is much of: ticks of 2^20 ns, about a millisecond, which come round
 * after 52 days. */
#pragma once

#include <stdint.h>

enum { TICK_SHIFT = 20 };

static inline uint32_t tick_of(uint64_t now_ns)
{
    return (uint32_t)(now_ns >> TICK_SHIFT);
}

/* How long ago that was, at least: up to two ticks more have passed. */
static inline uint64_t tick_age_ns(uint32_t tick, uint64_t now_ns)
{
    uint32_t ticks = tick_of(now_ns) - tick;
    return ticks > 0 ? (uint64_t)(ticks - 1) << TICK_SHIFT : 0;
}
