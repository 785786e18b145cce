#include "net/alarm.h"

#include "base/clock.h"
#include "base/err.h"

#include <sys/timerfd.h>
#include <unistd.h>

static void on_ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)events;
    struct alarm *a = io->data;
    uint64_t expirations;
    if (read(io->fd, &expirations, sizeof expirations) == sizeof expirations)
        a->ring(a);
}

int alarm_init(struct alarm *a, struct loop *loop, void (*ring)(struct alarm *))
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return ERR_SYSTEM;
    a->loop = loop;
    a->ring = ring;
    ev_io_init(&a->io, on_ready, fd, EV_READ);
    a->io.data = a;
    ev_io_start(loop_ev(loop), &a->io);
    return 0;
}

static void set(struct alarm *a, uint64_t time_ns)
{
    struct itimerspec when = {.it_value = {(time_t)(time_ns / NS_PER_S), (long)(time_ns % NS_PER_S)}};
    timerfd_settime(a->io.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void alarm_at(struct alarm *a, uint64_t time_ns)
{
    set(a, time_ns > 0 ? time_ns : 1); /* 0 would switch it off */
}

void alarm_off(struct alarm *a)
{
    set(a, 0);
}

void alarm_release(struct alarm *a)
{
    ev_io_stop(loop_ev(a->loop), &a->io);
    close(a->io.fd);
}
