/* An event loop: libev, a clock read once a turn, and work put off to the end of the turn.
 *
 * Nothing is freed inside a callback that still has it on the stack, and ten messages for one subscriber
 * leave in one write: both are the same rule, "at the end of the turn". */
#pragma once

#include "base/list.h"

#include <ev.h>

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Something to do once, after the callbacks of this turn. Embedded in its object. */
struct turn {
    struct link link;
    void (*run)(struct turn *);
    void *owner; /* what run will touch, fetched ahead of it; may be NULL */
};

/* On an ev_loop of the caller's, which must outlive it. */
struct loop *loop_new(struct ev_loop *ev);
/* Runs what is still due, then frees. The ev_loop stays. */
void loop_free(struct loop *l);
struct ev_loop *loop_ev(const struct loop *l);

void turn_init(struct turn *t, void (*run)(struct turn *));
/* At the end of this turn, or of the next when called from outside one. Asking twice is asking once. */
void loop_at_turn_end(struct loop *l, struct turn *t);
void turn_cancel(struct turn *t);

/* The time of the last loop_refresh or of the start of this turn. */
uint64_t loop_now_ns(const struct loop *l);
uint64_t loop_refresh(struct loop *l);

/* Memory that anybody may read into during a callback; nothing in it survives the callback. */
enum { LOOP_SCRATCH_SIZE = 256 * 1024 };
uint8_t *loop_scratch(struct loop *l);
