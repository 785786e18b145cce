/* Objects of one size, side by side: none has a header of its own, and what a crowd has left behind goes back
 * to the kernel. With AddressSanitizer they come from malloc, so that it sees a use after pool_put. */
#pragma once

#include "base/list.h"

#include <stddef.h>
#include <stdint.h>

struct pool {
    size_t size;         /* of an object */
    struct link open;    /* blocks with room and with objects */
    struct link empty;   /* blocks without objects */
    uint32_t empties;    /* how many those are */
    uint32_t never_used; /* the fewest that they have been since trimmed_ns */
    uint64_t trimmed_ns;
};

#define POOL_OF(name, type)                                                                                  \
    {                                                                                                        \
        .size = sizeof(type), .open = {&(name).open, &(name).open}, .empty = {                               \
            &(name).empty,                                                                                   \
            &(name).empty                                                                                    \
        }                                                                                                    \
    }

/* An object with whatever was in it before; aborts without memory, as mem_alloc. */
void *pool_take(struct pool *p);
void pool_put(struct pool *p, void *object);
/* Called often, it gives back once a second the blocks that nobody has needed in that second: a steady load
 * pays nothing for it, and an idle process keeps nothing. */
void pool_trim(struct pool *p, uint64_t now_ns);
