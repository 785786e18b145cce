#include "beat.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>

static const double STEP = 1.2;

static const uint64_t LOOK_NS = 10 * NS_PER_MS; /* how often to look whether to begin */

static volatile sig_atomic_t signals;

static void wake_up(int fd, uint64_t at_ns)
{
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

bool beat_read(char **words, uint16_t *ret_port, struct beat *ret_beat)
{
    for (int i = 1; i <= 3; i++)
        if (words[i] == NULL)
            return false;
    *ret_port = (uint16_t)strtoul(words[1], NULL, 10);
    *ret_beat = (struct beat){.rate = strtod(words[2], NULL), .size = strtoul(words[3], NULL, 10)};
    return ret_beat->size >= STAMP_SIZE;
}

void beat_announce(struct beat *b, const char *scheme, uint16_t port)
{
    b->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (b->timer_fd < 0)
        exit(1);
    signal(SIGUSR2, on_signal);
    wake_up(b->timer_fd, 1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("serving %s://127.0.0.1:%d/feed\n", scheme, port);
}

static void obey(struct beat *b)
{
    for (; signals > 0; signals = signals - 1)
        if (b->next_ns == 0)
            b->next_ns = clock_now_ns();
        else
            b->rate *= STEP;
}

bool beat_due(struct beat *b, uint8_t *at)
{
    obey(b);
    uint64_t now_ns = clock_now_ns(), due_ns = b->next_ns > 0 ? b->next_ns : now_ns + LOOK_NS;
    if (due_ns > now_ns) {
        wake_up(b->timer_fd, due_ns);
        return false;
    }
    struct stamp stamp = {0, b->sequence++, b->next_ns};
    stamp_write(&stamp, at, b->size);
    b->next_ns += (uint64_t)((double)NS_PER_S / b->rate);
    return true;
}
