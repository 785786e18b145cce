/* How often a server looks after what goes by the clock, and at how many connections it then looks: at those
 * that have something queued ten times a second, at the others twice, or as often as a deadline asks for; a
 * few at a time, and as seldom as can be while there is little to do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Connections that have something queued, and others. */
struct paced {
    uint64_t busy, others;
};

struct pace {
    double others_per_s; /* looks at each of the others */
    uint64_t ticked_ns;
    double busy_due, others_due; /* connections to be looked at, with a fraction */
};

/* The deadlines that only a look at a connection sees, 0: none. Each is missed by a quarter of itself at
 * most, or by 0.1 s. To be called before anything else. */
void pace_deadlines(struct pace *p, const uint64_t *deadline_ns, size_t count);
/* Seconds to the next tick, on average: 0.01 when it is `urgent` or there are many to look at, up to 0.05
 * with few, 0.1 with none. No more than an eighth of `shortest_ns`, the shortest deadline that only a tick
 * sees. */
double pace_tick_s(const struct pace *p, struct paced open, bool urgent, uint64_t shortest_ns);
/* At how many of them to look now; 100 of each at most, so that the cost is bounded: where there are
 * thousands, each is looked at less often. */
struct paced pace_samples(struct pace *p, struct paced open, uint64_t now_ns);
