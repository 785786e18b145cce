#include "hub/cast.h"

#include "base/fnv.h"

#include <stddef.h>

struct blob *cast_encoded(struct cast *c, unsigned format, uint64_t deflate_min)
{
    if (c->payload.size < deflate_min)
        format = CAST_PLAIN;
    if (!c->frame[format])
        c->frame[format] = c->encode(c, format);
    return c->frame[format];
}

struct blob *cast_frame(struct cast *c, unsigned format, uint64_t deflate_min, bool copy)
{
    struct blob *frame = cast_encoded(c, format, deflate_min);
    return copy ? blob_copy(frame) : blob_ref(frame);
}

void cast_keep(struct cast *c, struct cast *ret_kept)
{
    const struct blob *plain = cast_encoded(c, CAST_PLAIN, 0);
    *ret_kept = *c;
    ret_kept->payload.at = (const char *)plain->bytes + plain->size - c->payload.size;
    for (unsigned format = 0; format < CAST_FORMATS; format++)
        if (ret_kept->frame[format] != NULL)
            blob_ref(ret_kept->frame[format]);
}

void cast_done(struct cast *c)
{
    for (unsigned format = 0; format < CAST_FORMATS; format++) {
        if (c->frame[format] != NULL)
            blob_unref(c->frame[format]);
        c->frame[format] = NULL;
    }
}

uint64_t cast_key(struct slice name)
{
    uint64_t hash = fnv_add(FNV_START, name.at, name.size);
    return hash ? hash : 1;
}
