/* A schedule of stamped messages. When each is meant to leave is settled by the plan alone, never by how the
 * ones before it fared (open loop). The server's built-in feed and the swarm's publisher are both one of
 * these. */
#pragma once

#include "base/bytes.h"
#include "net/loop.h"
#include "wire/stamp.h"

#include <stdbool.h>

struct feed;

struct feed_plan {
    double rate;          /* messages a second; 0: none */
    bool poisson;         /* exponentially distributed gaps instead of equal ones */
    uint64_t size;        /* bytes of each payload, at least STAMP_SIZE */
    uint64_t duration_ns; /* 0: without end */
    uint32_t publisher;
    uint64_t seed; /* of the gaps */
    bool by_clock; /* equal gaps: message n leaves at n / rate on the clock, whenever the plan began */
};

struct feed_owner {
    /* payload: valid during the call. */
    void (*emit)(struct feed_owner *, const struct stamp *stamp, struct slice payload);
    void (*finished)(struct feed_owner *); /* the plan's duration is over; may be NULL */
};

/* NULL when the system has no descriptor for its timer. */
struct feed *feed_new(struct loop *loop, struct feed_owner *owner);
/* From start_ns on this plan; a plan that equals the one under way changes nothing. Sequence numbers go on.
 */
void feed_run(struct feed *f, const struct feed_plan *plan, uint64_t start_ns);
void feed_free(struct feed *f);
