#include "hub/cast.h"

#include "base/fnv.h"

#include <stddef.h>

struct blob *cast_frame(struct cast *c, bool copy)
{
    if (!c->frame)
        c->frame = c->encode(c);
    return copy ? blob_copy(c->frame) : blob_ref(c->frame);
}

void cast_done(struct cast *c)
{
    blob_unref(c->frame);
    c->frame = NULL;
}

uint64_t cast_key(struct slice name)
{
    uint64_t hash = fnv_add(FNV_START, name.at, name.size);
    return hash ? hash : 1;
}
