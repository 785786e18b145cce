/* Random messages for the echo programs: 0 B to 1 MiB, log-uniform, text and binary. The same seed gives the
 * same messages, so that who compares needs no copy of what was sent. */
#pragma once

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>

enum { MESSAGES_UNDER_WAY = 8 }; /* how many a client sends ahead of the echoes */

struct sample {
    const uint8_t *at; /* lives as long as the process */
    size_t size;
    size_t frames; /* how many to cut it into, anywhere */
    bool text;
};

void samples_begin(struct rng *rng, uint64_t seed);
struct sample samples_next(struct rng *rng);
/* Whether it is the very message; says on stderr when not. */
bool sample_is(const struct sample *s, bool text, const uint8_t *at, size_t size);
