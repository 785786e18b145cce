/* Tells a client what a drop policy left out: one text frame where the messages would have been,
 *
 *     {"wsb":"gap","dropped":12        }
 *
 * of fixed size, so that a longer gap is written over a shorter one in place and costs no allocation. */
#pragma once

#include "net/sendq.h"
#include "wire/message.h"

#include <stdbool.h>

/* Bytes of its frame. */
enum { GAP_FRAME_SIZE = 36 };

/* Takes a notice out of the queue's front, where dropping the oldest would forget what it says; returns that,
 * 0 when there is none. */
uint32_t gap_take_front(struct sendq *q);
/* Counts `dropped` more at the queue's front (behind a frame that has begun to leave) or at its end: into the
 * notice that stands there already, or into a new one. */
void gap_note(struct sendq *q, bool at_front, uint32_t dropped, uint64_t now_ns);
/* What a notice says, 0 when the message is none. */
uint64_t gap_read(const struct message *message);
