#include "peer/gate.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A burst of connections must not keep those that are open from being served. */
enum { ACCEPTS_A_TURN = 64 };

static const uint64_t BURST_NS = 100 * NS_PER_MS;

/* Out of descriptors the listening socket stays readable: without a pause the loop would spin on it. */
static const double DESCRIPTORS_S = 0.01;

/* A rate that changes while it is waited for counts after so long at most. */
static const double RATE_MAX_S = 1;

static void shut(struct gate *g, double time_s)
{
    ev_io_stop(loop_ev(g->loop), &g->io);
    if (time_s > 0) {
        ev_timer_stop(loop_ev(g->loop), &g->later);
        ev_timer_set(&g->later, time_s, 0);
        ev_timer_start(loop_ev(g->loop), &g->later);
    }
}

/* Whether one more may come in; if not, it is shut. */
static bool admits(struct gate *g)
{
    if (g->owner->full(g->owner)) {
        shut(g, 0);
        return false;
    }
    double wait_s =
        (double)meter_wait_ns(&g->spent, g->config->rate, BURST_NS, loop_now_ns(g->loop)) / NS_PER_S;
    if (wait_s > 0)
        shut(g, wait_s < RATE_MAX_S ? wait_s : RATE_MAX_S);
    return wait_s <= 0;
}

/* false when there is no more to accept, for now or for want of descriptors. */
static bool accept_one(struct gate *g)
{
    struct in6_addr from;
    int fd = sock_accept(g->listening, &g->config->sock, &from);
    if (fd >= 0) {
        meter_take(&g->spent, g->config->rate, 1, loop_now_ns(g->loop));
        count_add(COUNT_connections_accepted, 1);
        g->owner->accepted(g->owner, fd, &from);
        return true;
    }
    if (fd == -ECONNABORTED || fd == -EINTR || fd == -EPROTO)
        return true; /* that client left while it waited; the next one may not have */
    if (fd != -EAGAIN) {
        log_line(LOG_WARN, "accepting pauses: %s", strerror(-fd));
        count_add(COUNT_accept_pauses, 1);
        shut(g, DESCRIPTORS_S);
    }
    return false;
}

/* An accept that finds nobody costs seven times what it costs to ask how many there are: the kernel makes the
 * new socket first. */
static void on_ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)events;
    struct gate *g = io->data;
    uint32_t waiting = 0, limit = 0;
    sock_accept_queue(g->listening, &waiting, &limit);
    if (waiting == 0) /* somebody is there, whether this kernel counts them or not */
        waiting = 1;
    if (waiting > ACCEPTS_A_TURN)
        waiting = ACCEPTS_A_TURN;
    for (uint32_t i = 0; i < waiting && admits(g) && accept_one(g); i++)
        ;
}

static void on_later(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    gate_check(timer->data);
}

void gate_open(struct gate *g, struct loop *loop, int listening, struct gate_owner *owner,
               const struct gate_config *config)
{
    *g = (struct gate){.loop = loop, .owner = owner, .config = config, .listening = listening};
    ev_io_init(&g->io, on_ready, listening, EV_READ);
    ev_init(&g->later, on_later);
    g->io.data = g->later.data = g;
    ev_io_start(loop_ev(loop), &g->io);
}

bool gate_is_open(const struct gate *g)
{
    return ev_is_active(&g->io);
}

void gate_check(struct gate *g)
{
    if (g->listening >= 0 && !gate_is_open(g) && !ev_is_active(&g->later) && admits(g))
        ev_io_start(loop_ev(g->loop), &g->io);
}

void gate_sample(const struct gate *g)
{
    uint32_t length = 0, limit = 0;
    if (g->listening >= 0)
        sock_accept_queue(g->listening, &length, &limit);
    count_set(COUNT_accept_queue, length);
    count_set(COUNT_accept_queue_limit, limit);
}

void gate_close(struct gate *g)
{
    if (g->listening < 0)
        return;
    ev_io_stop(loop_ev(g->loop), &g->io);
    while (accept_one(g))
        ;
    ev_timer_stop(loop_ev(g->loop), &g->later);
    close(g->listening);
    g->listening = -1;
    gate_sample(g);
}
