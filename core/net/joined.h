/* Several queued blobs as one piece of memory. Subscribers of one topic mostly have the same blobs queued at
 * the end of a turn: put together once, they leave in one plain send each, without a vector that the kernel
 * would have to walk (a third of the price of ten small messages, a seventh of a hundred).
 *
 * Nothing depends on it: a queue that is not as the last ones were is sent blob by blob. */
#pragma once

#include "net/sendq.h"

/* The bytes that the front of the queue has still to send, if the queues before this one had the same blobs
 * there, and of how many blobs they are; they are valid until the next call (net/batch sends before that).
 * Size 0: they had not. */
struct iovec joined_front(const struct sendq *q, uint32_t *ret_blobs);
/* Gives back its references, so that the blobs can be freed: at the end of each turn. */
void joined_forget(void);
