#include "hub/cast.h"

#include "base/fnv.h"

#include <stddef.h>

struct blob *cast_frame(struct cast *c, unsigned format, bool copy)
{
    if (!c->frame[format])
        c->frame[format] = c->encode(c, format);
    return copy ? blob_copy(c->frame[format]) : blob_ref(c->frame[format]);
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
