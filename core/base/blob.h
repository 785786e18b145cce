/* An immutable, reference-counted message, encoded once and queued by every subscriber.
 *
 * blob_new -> fill bytes -> share (blob_ref / blob_unref) -> freed with the last reference. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct blob {
    uint32_t refs;
    uint32_t size;
    uint64_t born_ns; /* loop time when it was made: the age of a queue is the age of its head */
    uint64_t key;     /* what `conflate` compares; 0 never matches */
    uint8_t bytes[];
};

/* One reference, bytes not filled. size up to UINT32_MAX. */
struct blob *blob_new(size_t size, uint64_t born_ns, uint64_t key);
/* A new blob with the same contents: what the `copy` queue holds. */
struct blob *blob_copy(const struct blob *blob);
struct blob *blob_ref(struct blob *blob);
/* NULL is accepted. */
void blob_unref(struct blob *blob);

/* Bytes of all blobs alive in this process, headers included. */
uint64_t blob_bytes_alive(void);
