/* The authentication look-up that every upgrade waits for: so many at a time, each a real wait that costs no
 * CPU, first come first served. Driven by time alone.
 *
 *     add -> WAITING -> begin(): a slot is free -> BUSY for time_ns -> done()
 *                          \-> false: it is not worth a look-up, and takes no slot */
#pragma once

#include "base/list.h"

#include <stdint.h>

struct lookup_terms {
    uint64_t slots, time_ns;
};

/* Embedded in whoever waits. In begin() and done() it belongs to its owner again. */
struct lookup_job {
    struct link link;
    uint64_t due_ns;
};

struct lookup {
    struct link waiting; /* longest first */
    struct link busy;    /* first due first */
    uint64_t waiting_count, busy_count;
    bool (*begin)(struct lookup *, struct lookup_job *);
    void (*done)(struct lookup *, struct lookup_job *);
};

void lookup_init(struct lookup *l, bool (*begin)(struct lookup *, struct lookup_job *),
                 void (*done)(struct lookup *, struct lookup_job *));
/* To the end of the queue; lookup_run then looks whether a slot is free. */
void lookup_add(struct lookup *l, struct lookup_job *job);
/* Ends those that are due and fills the slots. The terms may differ from call to call; a look-up that has
 * begun takes the time it began with. */
void lookup_run(struct lookup *l, const struct lookup_terms *terms, uint64_t now_ns);
/* When the next one is due; 0 when no slot is taken. */
uint64_t lookup_next_ns(const struct lookup *l);
/* Takes out one, busy or waiting, that shall not be looked up after all; NULL when none is left. */
struct lookup_job *lookup_take(struct lookup *l);
