/* Tells a client what a drop policy left out: one text frame where the messages would have been,
 *
 *     {"wsb":"gap","dropped":12        }
 *
 * of fixed size, so that a longer gap is written over a shorter one in place and costs no allocation. */
#pragma once

#include "net/sendq.h"
#include "wire/message.h"

#include <stdbool.h>

/* Counts `dropped` more at the queue's front (behind a frame that has begun to leave) or at its end: into the
 * notice that stands there already, or into a new one. */
void gap_note(struct sendq *q, bool at_front, uint32_t dropped, uint64_t now_ns);
/* What a notice says, 0 when the message is none. */
uint64_t gap_read(const struct message *message);
