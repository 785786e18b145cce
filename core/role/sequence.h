/* Checks one subscriber's sequence numbers: what was skipped, what came twice, what came late. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sequence {
    uint64_t next;   /* the number that should come; 0 before the first */
    uint64_t recent; /* bit i: next - 1 - i has been seen */
};

enum arrival { ARRIVAL_IN_ORDER, ARRIVAL_AFTER_GAP, ARRIVAL_LATE, ARRIVAL_DUPLICATE };

/* Takes note of `number` (from 0 up). ret_skipped: how many were left out before it, 0 unless AFTER_GAP. The
 * first number of all starts the count, whichever it is. LATE fills a gap counted before; what is older than
 * the last 64 counts as a duplicate. */
enum arrival sequence_note(struct sequence *s, uint64_t number, uint64_t *ret_skipped);
