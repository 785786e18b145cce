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

/* Drops what has not begun to leave from the front until at most `most` bytes are queued and no notice stands
 * there. Returns how many messages went; ret_missing: they and those that the notices among them counted. */
uint32_t gap_drop_oldest(struct sendq *q, uint64_t most, uint32_t *ret_missing);
/* Counts `dropped` more at the queue's front (behind a frame that has begun to leave) or at its end: into the
 * notice that stands there already, or into a new one. */
void gap_note(struct sendq *q, bool at_front, uint32_t dropped, uint64_t now_ns);
/* The notice's payload, GAP_FRAME_SIZE bytes at most; returns its size. */
size_t gap_write(char *at, uint64_t dropped);
/* What a notice says, 0 when the message is none. */
uint64_t gap_read(const struct message *message);
