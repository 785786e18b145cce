#include "role/feed.h"

#include "base/clock.h"
#include "base/rng.h"
#include "net/alarm.h"

#include <stdlib.h>

/* Messages that are due at once leave together, but not for so long that the loop's other work waits. */
static const uint64_t BURST_MAX_NS = 5 * NS_PER_MS;

struct feed {
    struct loop *loop;
    struct alarm alarm;
    struct feed_plan plan;
    struct feed_owner *owner;
    struct rng rng;
    uint64_t start_ns;
    uint64_t index;    /* messages of this plan so far */
    double offset_ns;  /* from start_ns to the next one */
    uint64_t sequence; /* messages of all plans so far */
    uint8_t *payload;
};

static void advance(struct feed *f)
{
    double gap_ns = (double)NS_PER_S / f->plan.rate;
    f->index++;
    if (f->plan.poisson)
        f->offset_ns += rng_exponential(&f->rng, gap_ns);
    else
        f->offset_ns = (double)f->index * gap_ns;
}

static uint64_t next_ns(const struct feed *f)
{
    return f->start_ns + (uint64_t)f->offset_ns;
}

static bool over(const struct feed *f)
{
    return f->plan.duration_ns > 0 && f->offset_ns >= (double)f->plan.duration_ns;
}

static void emit_one(struct feed *f)
{
    struct stamp stamp = {f->plan.publisher, f->sequence++, next_ns(f)};
    stamp_write(&stamp, f->payload, f->plan.size);
    f->owner->emit(f->owner, &stamp, (struct slice){(const char *)f->payload, f->plan.size});
    advance(f);
}

static void ring(struct alarm *a)
{
    struct feed *f = LIST_OF(a, struct feed, alarm);
    uint64_t began_ns = loop_refresh(f->loop), now_ns = began_ns;
    while (f->plan.rate > 0 && !over(f) && next_ns(f) <= now_ns && now_ns - began_ns < BURST_MAX_NS) {
        emit_one(f);
        now_ns = loop_refresh(f->loop);
    }
    if (f->plan.rate <= 0)
        return;
    if (!over(f)) {
        alarm_at(a, next_ns(f));
        return;
    }
    f->plan.rate = 0;
    if (f->owner->finished != NULL)
        f->owner->finished(f->owner);
}

struct feed *feed_new(struct loop *loop, struct feed_owner *owner)
{
    struct feed *f = mem_zero(sizeof *f);
    f->loop = loop;
    f->owner = owner;
    if (alarm_init(&f->alarm, loop, ring) < 0) {
        free(f);
        return NULL;
    }
    return f;
}

static bool same(const struct feed_plan *a, const struct feed_plan *b)
{
    return a->rate == b->rate && a->poisson == b->poisson && a->size == b->size &&
           a->duration_ns == b->duration_ns && a->publisher == b->publisher && a->seed == b->seed &&
           a->by_clock == b->by_clock;
}

void feed_run(struct feed *f, const struct feed_plan *plan, uint64_t start_ns)
{
    if (same(&f->plan, plan))
        return;
    f->plan = *plan;
    f->start_ns = start_ns;
    f->index = 0;
    f->offset_ns = 0;
    rng_seed(&f->rng, plan->seed);
    f->payload = mem_resize(f->payload, plan->size);
    if (plan->rate > 0 && plan->by_clock) {
        f->start_ns = 0;
        f->sequence = f->index = (uint64_t)((double)start_ns * plan->rate / NS_PER_S) + 1;
        f->offset_ns = (double)f->index * NS_PER_S / plan->rate;
    }
    if (plan->rate > 0)
        alarm_at(&f->alarm, next_ns(f));
    else
        alarm_off(&f->alarm);
}

void feed_free(struct feed *f)
{
    if (f == NULL)
        return;
    alarm_release(&f->alarm);
    free(f->payload);
    free(f);
}
