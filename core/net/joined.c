#include "net/joined.h"

#include "base/bytes.h"
#include "base/count.h"
#include "net/batch.h"

#include <string.h>

/* Longer pieces gain nothing: there it is the bytes that cost. */
enum { BLOBS_MAX = 512, BYTES_MAX = 64 * 1024 };

/* Equal pointers are equal blobs: those that are joined are kept alive by a reference. */
static struct {
    struct blob *blob[BLOBS_MAX];
    uint32_t count;
    size_t size;
    uint8_t bytes[BYTES_MAX];
    /* What the last queue had that was not as the joined ones: worth joining when the next one has it, too.
     * Only compared. */
    const struct blob *seen_first, *seen_last;
    uint32_t seen_count;
} the;

void joined_forget(void)
{
    for (uint32_t i = 0; i < the.count; i++)
        blob_unref(the.blob[i]);
    the.count = the.seen_count = 0;
}

static bool seen_before(struct blob *const *blob, uint32_t count)
{
    if (the.seen_first == blob[0] && the.seen_last == blob[count - 1] && the.seen_count == count)
        return true;
    the.seen_first = blob[0];
    the.seen_last = blob[count - 1];
    the.seen_count = count;
    return false;
}

static void join(struct blob *const *blob, uint32_t count)
{
    batch_flush(); /* the bytes may be on their way */
    joined_forget();
    the.size = 0;
    for (; the.count < count && blob[the.count]->size <= BYTES_MAX - the.size; the.count++) {
        struct blob *next = the.blob[the.count] = blob_ref(blob[the.count]);
        memcpy(the.bytes + the.size, next->bytes, next->size);
        the.size += next->size;
    }
    count_add(COUNT_bytes_copied, the.size);
}

struct iovec joined_front(const struct sendq *q, uint32_t *ret_blobs)
{
    struct blob *const *blob = q->ring + q->first;
    uint32_t count = (uint32_t)least(least(q->count, q->capacity - q->first), BLOBS_MAX);
    bool same =
        the.count > 1 && the.count <= count && memcmp(the.blob, blob, the.count * sizeof(struct blob *)) == 0;
    if (!same) {
        bool shared = count > 1 && blob[0]->refs > 1;
        if (!shared || !seen_before(blob, count))
            return (struct iovec){0};
        join(blob, count);
        if (the.count < 2)
            return (struct iovec){0};
    }
    *ret_blobs = the.count;
    return (struct iovec){.iov_base = the.bytes + q->sent, .iov_len = the.size - q->sent};
}
