/* How often a server looks after what goes by the clock, and at how many connections it then looks: at those
 * that have something queued ten times a second, at the others twice; a few at a time, and as seldom as can
 * be while there is little to do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Connections that have something queued, and others. */
struct paced {
    uint64_t busy, others;
};

struct pace {
    uint64_t ticked_ns;
    double busy_due, others_due; /* connections to be looked at, with a fraction */
};

/* Seconds to the next tick, on average: 0.01 when it is `urgent` or there are many to look at, up to 0.05
 * with few, 0.1 with none. No more than an eighth of `shortest_ns`, the shortest deadline that only a tick
 * sees. */
double pace_tick_s(struct paced open, bool urgent, uint64_t shortest_ns);
/* At how many of them to look now; 100 of each at most, so that the cost is bounded: where there are
 * thousands, each is looked at less often. */
struct paced pace_samples(struct pace *p, struct paced open, uint64_t now_ns);
