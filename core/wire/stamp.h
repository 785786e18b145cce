/* What wsb's own publishers put at the front of a message, so that whoever receives it can tell who sent it,
 * in which place, and when it was meant to leave. Printable text: any server, in any language, relays it.
 *
 *     "wsb1 " publisher:8 " " sequence:16 " " intended_ns:16 " "   (lower-case hex), then a fill that the
 *                                                                   sequence number determines */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STAMP_SIZE = 48 };

struct stamp {
    uint32_t publisher;
    uint64_t sequence;
    uint64_t intended_ns; /* CLOCK_MONOTONIC */
};

/* Fills all `size` bytes, at least STAMP_SIZE. */
void stamp_write(const struct stamp *stamp, uint8_t *at, size_t size);
/* false when the bytes do not begin with a stamp. */
bool stamp_read(const uint8_t *at, size_t size, struct stamp *ret_stamp);
/* Whether the fill is what stamp_write made for that sequence number. */
bool stamp_intact(const struct stamp *stamp, const uint8_t *at, size_t size);
