/* One broadcast: a payload and its encodings, each made once, when the first member asks for it. */
#pragma once

#include "base/blob.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct cast {
    struct slice payload;
    bool text;
    uint64_t key;    /* what `conflate` compares: the publisher's key, or the topic */
    uint64_t now_ns; /* when it was published */
    /* Encodes payload as this format, one reference to the caller. Given by whoever owns the wire. */
    struct blob *(*encode)(const struct cast *);
    struct blob *frame; /* encoded already, or NULL */
};

/* The encoded broadcast, with a reference for the caller; `copy`: in memory of its own, as a server without
 * shared buffers would queue it. */
struct blob *cast_frame(struct cast *c, bool copy);
/* Drops the cast's own reference. */
void cast_done(struct cast *c);
/* FNV-1a, never 0. */
uint64_t cast_key(struct slice name);
