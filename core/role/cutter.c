#include "role/cutter.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/fnv.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t LEFT_FOR_NS = NS_PER_S;

/* When the second cut comes: a quarter at the very connect(), the rest as likely before as after any of
 * 10 us, 100 us, 1 ms, 10 ms. */
static const double AT_ONCE = 0.25, SHORTEST_NS = 5e3, LONGEST_NS = 50e6;

struct cut_prey {
    struct cutter *cutter;
    ev_timer timer; /* to the second cut */
    uint64_t again_ns;
    enum cut_how how_again;
    bool again;   /* waits for the next connect() */
    bool cut;     /* ends because of us */
    bool at_once; /* comes back without waiting */
};

struct cut_left {
    int fd;
    uint64_t until_ns;
};

void cut_plan_init(struct cut_plan *p, const struct swarm_config *c)
{
    bool twice = c->reconnect != 0;
    *p = (struct cut_plan){.clients = c->clients, .twice = twice};
    p->mean_ns = c->kill_rate > 0 ? NS_PER_S / c->kill_rate * (twice ? 1.5 : 1) : 0;
    rng_seed(&p->rng, fnv_add(fnv_add(FNV_START, "cut", 3), c->cohort.at, strlen(c->cohort.at)) ^ c->seed);
}

static enum cut_how draw_how(struct rng *rng)
{
    double u = rng_unit(rng);
    if (u < 1.0 / 8)
        return CUT_LEAVE;
    return u < 0.5 + 0.5 / 8 ? CUT_RESET : CUT_CLOSE;
}

static uint64_t draw_moment(struct rng *rng)
{
    double u = rng_unit(rng);
    if (u < AT_ONCE)
        return 0;
    return (uint64_t)(SHORTEST_NS * pow(LONGEST_NS / SHORTEST_NS, (u - AT_ONCE) / (1 - AT_ONCE)));
}

/* Always as many draws, so that what one cut is has no effect on when the next one is. */
struct cut cut_plan_next(struct cut_plan *p, uint64_t after_ns)
{
    struct cut cut = {.due_ns = after_ns + (uint64_t)rng_exponential(&p->rng, p->mean_ns)};
    cut.client = (uint64_t)(rng_unit(&p->rng) * (double)p->clients);
    cut.how = draw_how(&p->rng);
    cut.again = rng_unit(&p->rng) < 0.5 && p->twice;
    cut.again_ns = draw_moment(&p->rng);
    cut.how_again = draw_how(&p->rng);
    return cut;
}

static void arm(struct cutter *k, uint64_t now_ns)
{
    uint64_t due_ns = k->next.due_ns;
    if (due_ns >= k->end_ns)
        return;
    ev_timer_set(&k->timer, due_ns > now_ns ? (double)(due_ns - now_ns) / NS_PER_S : 0, 0);
    ev_timer_start(loop_ev(k->loop), &k->timer);
}

/* A second descriptor of the same socket: when the first is closed, the far end does not notice. */
static void leave(struct cutter *k, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return;
    if (k->left_count == k->left_capacity) {
        k->left_capacity = k->left_capacity > 0 ? 2 * k->left_capacity : 16;
        k->left = mem_resize(k->left, k->left_capacity * sizeof *k->left);
    }
    k->left[k->left_count++] = (struct cut_left){copy, loop_now_ns(k->loop) + LEFT_FOR_NS};
    ev_timer_again(loop_ev(k->loop), &k->sweep);
}

/* NULL where there is nothing to cut. */
static const char *state_of(const struct cut_target *t)
{
    switch (t->client->state) {
    case CLIENT_IDLE: return t->retry->state == RETRY_WAITING ? "waiting" : NULL;
    case CLIENT_CONNECTING: return "connecting";
    case CLIENT_SECURING: return "securing";
    case CLIENT_UPGRADING: return "upgrading";
    case CLIENT_OPEN:
        if (t->behind)
            return "replaying";
        return conn_incoming_since_ns(&t->client->conn) > 0 ? "mid-frame" : "open";
    case CLIENT_CLOSING: return "closing";
    case CLIENT_ENDED: break;
    }
    return NULL;
}

static void strike(struct cutter *k, uint64_t number, enum cut_how how)
{
    struct cut_target t = k->target(k, number);
    const char *state = state_of(&t);
    if (state == NULL)
        return;
    count_add(COUNT_clients_killed, 1);
    record_cut(t.record, number, state, loop_now_ns(k->loop));
    if (t.client->state == CLIENT_IDLE) {
        retry_cancel(t.retry);
        t.retry->shared->again(t.retry);
        return;
    }
    k->prey[number].cut = true;
    k->prey[number].at_once = how == CUT_LEAVE;
    if (how == CUT_LEAVE)
        leave(k, t.client->conn.stream.fd);
    if (how == CUT_RESET)
        client_abort(t.client);
    else
        client_give_up(t.client);
}

/* The second cut is settled before the first is made: that may connect again at once. */
static void on_due(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct cutter *k = timer->data;
    uint64_t now_ns = loop_refresh(k->loop);
    while (k->next.due_ns <= now_ns && k->next.due_ns < k->end_ns) {
        struct cut cut = k->next;
        struct cut_prey *prey = &k->prey[cut.client];
        prey->again = cut.again;
        prey->again_ns = cut.again_ns;
        prey->how_again = cut.how_again;
        strike(k, cut.client, cut.how);
        k->next = cut_plan_next(&k->plan, cut.due_ns);
    }
    arm(k, now_ns);
}

static void on_again(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct cut_prey *prey = LIST_OF(timer, struct cut_prey, timer);
    struct cutter *k = prey->cutter;
    loop_refresh(k->loop);
    strike(k, (uint64_t)(prey - k->prey), prey->how_again);
}

static void close_left(struct cutter *k, uint64_t now_ns)
{
    size_t gone = 0;
    while (gone < k->left_count && k->left[gone].until_ns <= now_ns)
        close(k->left[gone++].fd);
    k->left_count -= gone;
    if (gone > 0)
        memmove(k->left, k->left + gone, k->left_count * sizeof *k->left);
    if (k->left_count == 0)
        ev_timer_stop(loop_ev(k->loop), &k->sweep);
}

static void on_sweep(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct cutter *k = timer->data;
    close_left(k, loop_refresh(k->loop));
}

static void make_prey(struct cutter *k)
{
    k->prey = mem_zero(k->plan.clients * sizeof *k->prey);
    for (uint64_t i = 0; i < k->plan.clients; i++) {
        k->prey[i].cutter = k;
        ev_timer_init(&k->prey[i].timer, on_again, 0, 0);
    }
}

void cutter_start(struct cutter *k, struct loop *loop, const struct swarm_config *c)
{
    uint64_t now_ns = loop_now_ns(loop);
    k->loop = loop;
    if (c->kill_rate <= 0)
        return;
    cut_plan_init(&k->plan, c);
    make_prey(k);
    ev_timer_init(&k->timer, on_due, 0, 0);
    ev_timer_init(&k->sweep, on_sweep, 0, 0.02);
    k->timer.data = k->sweep.data = k;
    k->end_ns = c->kill_until > 0 ? now_ns + c->kill_until : UINT64_MAX;
    k->next = cut_plan_next(&k->plan, now_ns);
    arm(k, now_ns);
}

void cutter_stop(struct cutter *k)
{
    if (k->prey == NULL)
        return;
    ev_timer_stop(loop_ev(k->loop), &k->timer);
    for (uint64_t i = 0; i < k->plan.clients; i++) {
        ev_timer_stop(loop_ev(k->loop), &k->prey[i].timer);
        k->prey[i].again = false;
    }
}

void cutter_free(struct cutter *k)
{
    if (k->prey == NULL)
        return;
    cutter_stop(k);
    close_left(k, UINT64_MAX);
    free(k->prey);
    free(k->left);
    k->prey = NULL;
    k->left = NULL;
}

void cutter_connecting(struct cutter *k, uint64_t client)
{
    if (k->prey == NULL || !k->prey[client].again)
        return;
    struct cut_prey *prey = &k->prey[client];
    prey->again = false;
    ev_timer_set(&prey->timer, (double)prey->again_ns / NS_PER_S, 0);
    ev_timer_start(loop_ev(k->loop), &prey->timer);
}

bool cutter_ended(struct cutter *k, uint64_t client, bool *ret_at_once)
{
    *ret_at_once = false;
    if (k->prey == NULL)
        return false;
    struct cut_prey *prey = &k->prey[client];
    bool cut = prey->cut;
    *ret_at_once = prey->at_once;
    prey->cut = prey->at_once = false;
    ev_timer_stop(loop_ev(k->loop), &prey->timer);
    return cut;
}
