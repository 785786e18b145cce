/* How much of something may pass a second, with a burst of one second's worth (the generic cell rate
 * algorithm): eight bytes of state, all zero at first, and no timer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct meter {
    uint64_t paid_until_ns; /* what has passed is paid for up to then */
};

/* Whether `amount` more may pass at `rate` a second; it counts either way. rate 0 sets no limit. */
static inline bool meter_take(struct meter *m, double rate, double amount, uint64_t now_ns)
{
    const uint64_t burst_ns = 1000000000;
    if (rate <= 0)
        return true;
    uint64_t from_ns = m->paid_until_ns > now_ns ? m->paid_until_ns : now_ns;
    double cost_ns = amount * 1e9 / rate;
    m->paid_until_ns = from_ns + (cost_ns < 1e18 ? (uint64_t)cost_ns : (uint64_t)1e18);
    return m->paid_until_ns - now_ns <= burst_ns;
}

/* How long until one more may pass at `rate` a second with a burst of burst_ns's worth, but of one at least;
 * 0: now. Nothing is counted. */
static inline uint64_t meter_wait_ns(const struct meter *m, double rate, uint64_t burst_ns, uint64_t now_ns)
{
    if (rate <= 0 || m->paid_until_ns <= now_ns)
        return 0;
    double owed_ns = (double)(m->paid_until_ns - now_ns), cost_ns = 1e9 / rate;
    double spare_ns = (double)burst_ns > cost_ns ? (double)burst_ns - cost_ns : 0;
    return owed_ns > spare_ns ? (uint64_t)(owed_ns - spare_ns) : 0;
}
