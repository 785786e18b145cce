#include "net/loop.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <stdlib.h>

/* Work that keeps asking for more must not starve the descriptors: after so many rounds they are polled. */
enum { ROUNDS_MAX = 16 };

struct loop {
    struct ev_loop *ev;
    struct ev_prepare turn_end;  /* libev calls it when the callbacks are done, before it blocks */
    struct ev_check turn_start;  /* and this when it has stopped blocking, before the callbacks */
    struct ev_idle do_not_block; /* active only while work is left over: libev then polls without waiting */
    struct link due;             /* of struct turn */
    struct link border;          /* in `due` while a round runs: behind it stands what the round has added */
    uint64_t now_ns;
    uint8_t scratch[LOOP_SCRATCH_SIZE];
};

/* A run that writes to a socket has the kernel sweep the cache: what the next ones need is asked for before,
 * the turn after next itself, and what the next one points at. */
static void fetch_ahead(const struct loop *l)
{
    const struct turn *next = LIST_OF(l->due.next, struct turn, link);
    __builtin_prefetch(l->due.next->next);
    __builtin_prefetch((const char *)l->due.next->next + 64);
    if (l->due.next == &l->border || l->due.next == &l->due)
        return;
    __builtin_prefetch(next->owner);
    __builtin_prefetch((const char *)next->owner + 64);
}

static void run_round(struct loop *l)
{
    list_append(&l->due, &l->border);
    for (struct link *at = list_take(&l->due); at != &l->border; at = list_take(&l->due)) {
        struct turn *t = LIST_OF(at, struct turn, link);
        fetch_ahead(l);
        t->run(t);
    }
}

static void on_turn_end(struct ev_loop *ev, struct ev_prepare *w, int events)
{
    (void)events;
    struct loop *l = w->data;
    for (int round = 0; round < ROUNDS_MAX && !list_empty(&l->due); round++)
        run_round(l);
    if (list_empty(&l->due))
        ev_idle_stop(ev, &l->do_not_block);
    else
        ev_idle_start(ev, &l->do_not_block);
}

static void on_turn_start(struct ev_loop *ev, struct ev_check *w, int events)
{
    (void)ev, (void)events;
    loop_refresh(w->data);
}

static void on_idle(struct ev_loop *ev, struct ev_idle *w, int events)
{
    (void)ev, (void)w, (void)events;
}

struct loop *loop_new(struct ev_loop *ev)
{
    struct loop *l = mem_zero(sizeof(*l));
    l->ev = ev;
    link_init(&l->due);
    link_init(&l->border);
    loop_refresh(l);

    ev_prepare_init(&l->turn_end, on_turn_end);
    ev_check_init(&l->turn_start, on_turn_start);
    ev_idle_init(&l->do_not_block, on_idle);
    ev_set_priority(&l->turn_end, EV_MINPRI);
    ev_set_priority(&l->turn_start, EV_MAXPRI);
    l->turn_end.data = l->turn_start.data = l;
    ev_prepare_start(ev, &l->turn_end);
    ev_check_start(ev, &l->turn_start);
    /* Neither is a reason for ev_run to go on. */
    ev_unref(ev);
    ev_unref(ev);
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (!list_empty(&l->due))
        run_round(l);
    ev_ref(l->ev);
    ev_ref(l->ev);
    ev_prepare_stop(l->ev, &l->turn_end);
    ev_check_stop(l->ev, &l->turn_start);
    ev_idle_stop(l->ev, &l->do_not_block);
    free(l);
}

struct ev_loop *loop_ev(const struct loop *l)
{
    return l->ev;
}

void turn_init(struct turn *t, void (*run)(struct turn *))
{
    link_init(&t->link);
    t->run = run;
    t->owner = NULL;
}

void loop_at_turn_end(struct loop *l, struct turn *t)
{
    bool due_already = !list_empty(&t->link);
    if (!due_already)
        list_enter(&l->due, &t->link);
}

void turn_cancel(struct turn *t)
{
    link_remove(&t->link);
}

uint64_t loop_now_ns(const struct loop *l)
{
    return l->now_ns;
}

uint64_t loop_refresh(struct loop *l)
{
    l->now_ns = clock_now_ns();
    return l->now_ns;
}

uint8_t *loop_scratch(struct loop *l)
{
    return l->scratch;
}
