/* How long to wait until the next attempt, and for a turn in a budget: pure arithmetic on nanoseconds, for
 * attempts without end. */
#pragma once

#include "base/rng.h"

#include <stddef.h>

enum { BACKOFF_DELAYS_MAX = 64 };

enum backoff_shape { BACKOFF_FIXED, BACKOFF_EXPONENTIAL, BACKOFF_DECORRELATED, BACKOFF_LIST };

enum backoff_jitter { JITTER_NONE, JITTER_FULL, JITTER_EQUAL, JITTER_SPREAD, JITTER_ADDED };

/* Durations are below 2^53. Attempts count from 1, and U(a, b) is uniform in [a, b).
 *
 * shape         the wait d before attempt n
 * FIXED         base
 * EXPONENTIAL   min(cap, base * factor^(n - 1))
 * DECORRELATED  min(cap, U(base, 3 * the one before)), the one before the first being base
 * LIST          delay[n - 1], the last of them from there on
 *
 * jitter        what becomes of it
 * NONE          d
 * FULL          U(0, d)
 * EQUAL         d/2 + U(0, d/2)
 * SPREAD        d * U(1 - spread, 1 + spread)
 * ADDED         d + U(0, added) */
struct backoff {
    enum backoff_shape shape;
    uint64_t base_ns, cap_ns;
    double factor;
    uint64_t delay_ns[BACKOFF_DELAYS_MAX];
    size_t delays; /* of LIST, at least 1 */
    enum backoff_jitter jitter;
    double spread; /* at most 1 */
    uint64_t added_ns;
    uint64_t jitter_from; /* the attempt; before it there is no jitter */
    uint64_t window_ns;   /* not 0: attempt 1 comes after U(0, window) instead, without more jitter */
};

/* Zero before the first attempt. */
struct backoff_state {
    uint64_t attempts;  /* those that backoff_next was asked for */
    uint64_t shaped_ns; /* the wait before the last one, as DECORRELATED needs it: before jitter */
};

/* The wait before the next attempt, which it counts. */
uint64_t backoff_next(const struct backoff *b, struct backoff_state *state, struct rng *rng);

/* A token bucket of `size` that fills in a minute, full and all zero at first. */
struct backoff_budget {
    uint64_t paid_until_ns;
};

/* Takes a token for an attempt at `at_ns`; returns the time from which on there is one, at_ns or later. No
 * limit with size 0. */
uint64_t backoff_pay(struct backoff_budget *budget, uint64_t size, uint64_t at_ns);
