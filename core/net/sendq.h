/* What a connection still has to send: a ring of blobs, of which only the first can be partly sent.
 *
 *     push -> [head: 700 of 1028 sent][blob][blob] -> gather (iovec) -> writev -> settle (drops what left)
 *
 * All zero is an empty queue, and a few blobs take no memory of their own: it must stay where it is. */
#pragma once

#include "base/blob.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { SENDQ_FEW = 8 };

struct sendq {
    struct blob **ring; /* capacity entries, a power of two; `few` as long as that is enough */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    uint32_t sent;  /* bytes of the first blob that have left */
    uint64_t bytes; /* still to send, all blobs */
    struct blob *few[SENDQ_FEW];
};

/* Takes over the caller's reference. */
void sendq_push(struct sendq *q, struct blob *blob);

/* What has still to leave of the first blob of a queue that is not empty. */
struct iovec sendq_front(const struct sendq *q);
/* Up to max_vectors pieces and about max_bytes bytes from the front (the first piece always); how many. */
int sendq_gather(const struct sendq *q, struct iovec *vector, int max_vectors, size_t max_bytes);
/* `written` bytes left: releases the blobs that are through and returns how many that were. */
uint32_t sendq_settle(struct sendq *q, size_t written);

/* The age of the oldest blob, 0 when empty. */
uint64_t sendq_age_ns(const struct sendq *q, uint64_t now_ns);

/* A blob may be taken out only while none of its bytes has left. Each returns how many went. */
uint32_t sendq_drop_oldest(struct sendq *q, uint64_t at_least_bytes);
uint32_t sendq_drop_key(struct sendq *q, uint64_t key);
uint32_t sendq_drop_unstarted(struct sendq *q);

/* The first blob that has not begun to leave, or the last one; NULL when there is none. */
struct blob *sendq_first_unstarted(const struct sendq *q);
struct blob *sendq_last_unstarted(const struct sendq *q);
/* Before the first one that has not begun. Takes over the reference. */
void sendq_push_front(struct sendq *q, struct blob *blob);

void sendq_free(struct sendq *q);
