/* What becomes of a message that does not fit under the high-water mark. A pure decision: whoever owns the
 * queue carries it out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The order is that of the choices of on_overflow in role/config.def. */
enum overflow {
    OVERFLOW_NONE,
    OVERFLOW_CLOSE,
    OVERFLOW_DROP_NEWEST,
    OVERFLOW_DROP_OLDEST,
    OVERFLOW_CONFLATE
};

enum verdict {
    VERDICT_QUEUE,       /* fits, or nothing limits it */
    VERDICT_EVICT,       /* close the connection with 1013 */
    VERDICT_DROP_NEWEST, /* forget this message */
    VERDICT_MAKE_ROOM,   /* drop the oldest until it fits; where that cannot be, forget this one */
    VERDICT_CONFLATE     /* drop what has this key, then as VERDICT_MAKE_ROOM */
};

struct policy {
    uint64_t mark; /* high-water mark in bytes, 0: none */
    enum overflow on_overflow;
};

/* Strict: over the mark is `queued + size > mark`. */
bool policy_over(const struct policy *p, uint64_t queued, uint64_t size);
enum verdict policy_decide(const struct policy *p, uint64_t queued, uint64_t size);
