#include "net/sendq.h"

#include "base/bytes.h"

#include <stdlib.h>

/* A drained ring of up to KEEP_CAPACITY is kept: freeing it would make the next push allocate. The owner puts
 * those of idle connections away (conn_rest). */
enum { KEEP_CAPACITY = 512 };

static uint32_t wrap(const struct sendq *q, uint32_t index)
{
    return index & (q->capacity - 1);
}

static struct blob **slot(const struct sendq *q, uint32_t position)
{
    return &q->ring[wrap(q, q->first + position)];
}

/* How many blobs have begun to leave: none or the first. */
static uint32_t begun(const struct sendq *q)
{
    return q->sent > 0;
}

static void make_room(struct sendq *q)
{
    if (q->count < q->capacity)
        return;
    if (q->capacity == 0) {
        q->ring = q->few;
        q->capacity = SENDQ_FEW;
        return;
    }
    uint32_t capacity = q->capacity * 2;
    q->ring = mem_resize(q->ring != q->few ? q->ring : NULL, capacity * sizeof(struct blob *));
    if (q->capacity == SENDQ_FEW)
        memcpy(q->ring, q->few, sizeof q->few);
    /* What had wrapped around to the start goes on behind the old end. */
    memcpy(q->ring + q->capacity, q->ring, q->first * sizeof(struct blob *));
    q->capacity = capacity;
}

static void free_ring(struct sendq *q)
{
    if (q->ring != q->few)
        free(q->ring);
}

/* From the start again, where the memory is warm. */
static void start_over_if_drained(struct sendq *q)
{
    if (q->count > 0)
        return;
    q->first = 0;
    if (q->capacity <= KEEP_CAPACITY)
        return;
    free_ring(q);
    q->ring = NULL;
    q->capacity = 0;
}

void sendq_push(struct sendq *q, struct blob *blob)
{
    make_room(q);
    *slot(q, q->count++) = blob;
    q->bytes += blob->size;
}

void sendq_push_front(struct sendq *q, struct blob *blob)
{
    make_room(q);
    q->first = wrap(q, q->first - 1);
    q->count++;
    if (begun(q) > 0)
        *slot(q, 0) = *slot(q, 1);
    *slot(q, begun(q)) = blob;
    q->bytes += blob->size;
}

struct iovec sendq_front(const struct sendq *q)
{
    struct blob *blob = *slot(q, 0);
    return (struct iovec){.iov_base = blob->bytes + q->sent, .iov_len = blob->size - q->sent};
}

int sendq_gather(const struct sendq *q, struct iovec *vector, int max_vectors, size_t max_bytes)
{
    size_t total = 0;
    uint32_t skip = q->sent;
    int used = 0;
    for (; used < max_vectors && (uint32_t)used < q->count; used++) {
        struct blob *blob = *slot(q, (uint32_t)used);
        size_t left = blob->size - skip;
        if (used > 0 && total + left > max_bytes)
            break;
        vector[used] = (struct iovec){.iov_base = blob->bytes + skip, .iov_len = left};
        total += left;
        skip = 0;
    }
    return used;
}

uint32_t sendq_settle(struct sendq *q, size_t written)
{
    uint32_t through = 0;
    q->bytes -= written;
    while (q->count > 0) {
        struct blob *blob = *slot(q, 0);
        size_t left = blob->size - q->sent;
        if (written < left) {
            q->sent += (uint32_t)written;
            break;
        }
        written -= left;
        blob_unref(blob);
        q->sent = 0;
        q->first = wrap(q, q->first + 1);
        q->count--;
        through++;
    }
    start_over_if_drained(q);
    return through;
}

uint64_t sendq_age_ns(const struct sendq *q, uint64_t now_ns)
{
    if (q->count == 0)
        return 0;
    uint64_t born_ns = (*slot(q, 0))->born_ns;
    return now_ns > born_ns ? now_ns - born_ns : 0;
}

uint32_t sendq_drop_oldest(struct sendq *q, uint64_t at_least_bytes)
{
    uint32_t keep = begun(q), dropped = 0;
    uint64_t freed = 0;
    while (keep + dropped < q->count && freed < at_least_bytes) {
        struct blob *blob = *slot(q, keep + dropped++);
        freed += blob->size;
        blob_unref(blob);
    }
    if (dropped == 0)
        return 0;
    if (keep > 0)
        *slot(q, dropped) = *slot(q, 0);
    q->first = wrap(q, q->first + dropped);
    q->count -= dropped;
    q->bytes -= freed;
    start_over_if_drained(q);
    return dropped;
}

uint32_t sendq_drop_key(struct sendq *q, uint64_t key)
{
    if (key == 0)
        return 0;
    uint32_t kept = begun(q);
    for (uint32_t i = kept; i < q->count; i++) {
        struct blob *blob = *slot(q, i);
        if (blob->key == key) {
            q->bytes -= blob->size;
            blob_unref(blob);
        } else {
            *slot(q, kept++) = blob;
        }
    }
    uint32_t dropped = q->count - kept;
    q->count = kept;
    start_over_if_drained(q);
    return dropped;
}

uint32_t sendq_drop_unstarted(struct sendq *q)
{
    return sendq_drop_oldest(q, UINT64_MAX);
}

struct blob *sendq_first_unstarted(const struct sendq *q)
{
    return q->count > begun(q) ? *slot(q, begun(q)) : NULL;
}

struct blob *sendq_last_unstarted(const struct sendq *q)
{
    return q->count > begun(q) ? *slot(q, q->count - 1) : NULL;
}

void sendq_free(struct sendq *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        blob_unref(*slot(q, i));
    free_ring(q);
    *q = (struct sendq){0};
}
