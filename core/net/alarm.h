/* A timer that rings to the microsecond (timerfd), for schedules whose lateness is measured: libev's own
 * timers round up to a millisecond. One descriptor each. */
#pragma once

#include "net/loop.h"

struct alarm {
    struct loop *loop;
    ev_io io;
    void (*ring)(struct alarm *);
};

/* 0 or ERR_SYSTEM with errno. */
int alarm_init(struct alarm *a, struct loop *loop, void (*ring)(struct alarm *));
/* Rings once at that time of the loop's clock, at once when it is past; replaces an earlier setting. */
void alarm_at(struct alarm *a, uint64_t time_ns);
void alarm_off(struct alarm *a);
void alarm_release(struct alarm *a);
