/* The feed of the C contestants: which stamped message is due when. The first SIGUSR2 begins it, each further
 * one raises its rate by a fifth. */
#pragma once

#include "wire/stamp.h"

struct beat {
    double rate;  /* messages a second */
    size_t size;  /* payload, at least STAMP_SIZE */
    int timer_fd; /* readable when one is due, or may be */
    uint64_t next_ns, sequence;
};

/* PORT RATE SIZE, as every contestant is called; false when it is something else. */
bool beat_read(char **words, uint16_t *ret_port, struct beat *ret_beat);
/* Prints where the server is, which tells the runner that it is ready. */
void beat_announce(struct beat *b, const char *scheme, uint16_t port);
/* Whether a message is due; then its payload is in `at`, `size` bytes. When none is, the timer is set. */
bool beat_due(struct beat *b, uint8_t *at);
