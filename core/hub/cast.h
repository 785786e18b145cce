/* One broadcast: a payload and its encodings, each made once, when the first member asks for it. */
#pragma once

#include "base/blob.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* The wire formats of one broadcast: as it is, which ends with the payload itself, or compressed with a
 * window of 9 to 15 bits. */
enum { CAST_PLAIN, CAST_FORMATS = 8 };

struct cast {
    struct slice payload;
    bool text;
    uint64_t key;    /* what `conflate` compares: the publisher's key, or the topic */
    uint64_t now_ns; /* when it was published */
    uint64_t offset; /* its number in the topic's history, 0: none */
    uint64_t sender; /* who published it, in the owner's numbers, and is not to get it; 0: nobody */
    /* Encodes payload as this format, one reference to the caller. Given by whoever owns the wire; it may be
     * asked at the end of the turn. */
    struct blob *(*encode)(const struct cast *, unsigned format);
    void *owner;                      /* encode's own */
    struct blob *frame[CAST_FORMATS]; /* those encoded already */
};

/* The broadcast in this format, or plain if it is smaller than deflate_min; the cast's own reference. */
struct blob *cast_encoded(struct cast *c, unsigned format, uint64_t deflate_min);
/* The same with a reference for the caller; `copy`: in memory of its own, as a server without shared buffers
 * would queue it. */
struct blob *cast_frame(struct cast *c, unsigned format, uint64_t deflate_min, bool copy);
/* A copy that outlives the caller's payload: its own is the end of the plain frame, encoded now if need be.
 */
void cast_keep(struct cast *c, struct cast *ret_kept);
/* Drops the cast's own references. */
void cast_done(struct cast *c);
/* FNV-1a, never 0. */
uint64_t cast_key(struct slice name);
