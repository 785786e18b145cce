#include "role/pace.h"

#include "base/clock.h"

#include <math.h>

/* A second, each; what deadlines ask for is between the two. */
static const double LOOKS_AT_BUSY = 10, LOOKS_AT_OTHERS = 2;

/* In the time of a deadline. */
static const double LOOKS_A_DEADLINE = 4;

static const double SAMPLES_A_TICK = 100;
static const double TICK_S = 0.01, FEW_S = 0.05, NONE_S = 0.1;

/* What a tick looks at while ticks are as seldom as can be: few enough to keep nobody waiting. */
static const double FEW_SAMPLES = 50;

/* A deadline may be missed by so much of itself. */
static const double DEADLINE_PART = 1.0 / 8;

void pace_deadlines(struct pace *p, const uint64_t *deadline_ns, size_t count)
{
    p->others_per_s = LOOKS_AT_OTHERS;
    for (size_t i = 0; i < count; i++)
        if (deadline_ns[i] > 0)
            p->others_per_s = fmax(p->others_per_s, LOOKS_A_DEADLINE * NS_PER_S / (double)deadline_ns[i]);
    p->others_per_s = fmin(p->others_per_s, LOOKS_AT_BUSY);
}

double pace_tick_s(const struct pace *p, struct paced open, bool urgent, uint64_t shortest_ns)
{
    double looks_per_s = (double)open.busy * LOOKS_AT_BUSY + (double)open.others * p->others_per_s;
    double seldom_s = looks_per_s > 0 ? fmin(FEW_S, FEW_SAMPLES / looks_per_s) : NONE_S;
    double deadline_s = (double)shortest_ns / NS_PER_S * DEADLINE_PART;
    return urgent ? TICK_S : fmax(TICK_S, fmin(seldom_s, deadline_s));
}

/* More of so many have become due; those that are looked at now. */
static uint64_t take(double *due, double more, uint64_t open)
{
    double most = fmin((double)open, SAMPLES_A_TICK);
    double now = floor(fmin(*due + more, most));
    *due = fmin(*due + more, most + 1) - now;
    return (uint64_t)now;
}

struct paced pace_samples(struct pace *p, struct paced open, uint64_t now_ns)
{
    double elapsed_s = (double)(now_ns - p->ticked_ns) / NS_PER_S;
    p->ticked_ns = now_ns;
    return (struct paced){
        .busy = take(&p->busy_due, (double)open.busy * elapsed_s * LOOKS_AT_BUSY, open.busy),
        .others = take(&p->others_due, (double)open.others * elapsed_s * p->others_per_s, open.others),
    };
}
