#include "base/blob.h"

#include "base/bytes.h"
#include "base/count.h"
#include "base/log.h"

#include <stdlib.h>

static uint64_t bytes_alive;

static uint64_t memory_of(const struct blob *blob)
{
    return sizeof *blob + blob->size;
}

struct blob *blob_new(size_t size, uint64_t born_ns, uint64_t key)
{
    if (size > UINT32_MAX)
        PANIC("blob of %zu bytes", size);
    struct blob *blob = mem_alloc(sizeof *blob + size);
    *blob = (struct blob){.refs = 1, .size = (uint32_t)size, .born_ns = born_ns, .key = key};
    bytes_alive += memory_of(blob);
    return blob;
}

struct blob *blob_copy(const struct blob *blob)
{
    struct blob *copy = blob_new(blob->size, blob->born_ns, blob->key);
    memcpy(copy->bytes, blob->bytes, blob->size);
    count_add(COUNT_bytes_copied, blob->size);
    return copy;
}

struct blob *blob_ref(struct blob *blob)
{
    blob->refs++;
    return blob;
}

void blob_unref(struct blob *blob)
{
    if (!blob || --blob->refs > 0)
        return;
    bytes_alive -= memory_of(blob);
    free(blob);
}

uint64_t blob_bytes_alive(void)
{
    return bytes_alive;
}
