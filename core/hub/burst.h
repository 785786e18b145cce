/* What has been published to one topic and not been handed to its members yet: mostly in one turn of the
 * loop. A walk over the members costs more than a message, so there is one for all of them, and who has
 * nothing queued gets them in one piece of memory, put together once. */
#pragma once

#include "hub/cast.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct member;

enum { BURST_FEW = 4 };

struct burst_cast {
    struct cast cast;
    const struct member *except; /* it is not for this one; NULL: it is for all */
};

struct burst {
    uint32_t count, capacity;
    size_t bytes; /* of all frames, plain */
    bool excepts; /* some casts are not for all */
    struct burst_cast *casts;
    struct burst_cast few[BURST_FEW];  /* what casts is as long as that is enough */
    struct blob *joined[CAST_FORMATS]; /* see burst_piece */
};

struct burst *burst_new(void);
/* Copies the cast, and takes references of its own. */
void burst_add(struct burst *b, struct cast *cast, const struct member *except);
/* More would gain nothing, or would wait too long: to be handed out now. */
bool burst_full(const struct burst *b);
/* All frames one after the other, in the format, or plain where the message is smaller than deflate_min; the
 * burst's own, made when first asked for. */
struct blob *burst_piece(struct burst *b, unsigned format, uint64_t deflate_min);
void burst_free(struct burst *b);
