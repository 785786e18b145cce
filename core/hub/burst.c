#include "hub/burst.h"

#include "base/count.h"

#include <stdlib.h>

/* Longer pieces gain nothing: there it is the bytes that cost. */
enum { CASTS_MAX = 512, BYTES_MAX = 64 * 1024 };

struct burst *burst_new(void)
{
    struct burst *b = mem_zero(sizeof *b);
    b->capacity = BURST_FEW;
    b->casts = b->few;
    return b;
}

static void make_room(struct burst *b)
{
    if (b->count < b->capacity)
        return;
    b->capacity *= 4;
    b->casts = mem_resize(b->casts != b->few ? b->casts : NULL, b->capacity * sizeof *b->casts);
    if (b->count == BURST_FEW)
        memcpy(b->casts, b->few, sizeof b->few);
}

void burst_add(struct burst *b, struct cast *cast, const struct member *except)
{
    make_room(b);
    struct burst_cast *added = &b->casts[b->count++];
    cast_keep(cast, &added->cast);
    added->except = except;
    b->excepts |= except != NULL;
    b->bytes += added->cast.frame[CAST_PLAIN]->size;
}

bool burst_full(const struct burst *b)
{
    return b->count >= CASTS_MAX || b->bytes >= BYTES_MAX;
}

static struct blob *join(struct burst *b, unsigned format, uint64_t deflate_min)
{
    size_t size = 0, at = 0;
    for (uint32_t i = 0; i < b->count; i++)
        size += cast_encoded(&b->casts[i].cast, format, deflate_min)->size;
    struct blob *piece = blob_new(size, b->casts[0].cast.now_ns, 0);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct blob *frame = cast_encoded(&b->casts[i].cast, format, deflate_min);
        memcpy(piece->bytes + at, frame->bytes, frame->size);
        at += frame->size;
    }
    count_add(COUNT_bytes_copied, size);
    return piece;
}

struct blob *burst_piece(struct burst *b, unsigned format, uint64_t deflate_min)
{
    if (b->joined[format] == NULL)
        b->joined[format] = b->count > 1 ? join(b, format, deflate_min)
                                         : blob_ref(cast_encoded(&b->casts[0].cast, format, deflate_min));
    return b->joined[format];
}

void burst_free(struct burst *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        cast_done(&b->casts[i].cast);
    for (unsigned format = 0; format < CAST_FORMATS; format++)
        blob_unref(b->joined[format]);
    if (b->casts != b->few)
        free(b->casts);
    free(b);
}
