/* A growing byte buffer, owned by whoever holds the struct. All zero is an empty buffer. */
#pragma once

#include "base/bytes.h"

struct buf {
    uint8_t *at;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/* Makes room for `more` bytes behind those in use and returns where they go; the caller adds to size. */
uint8_t *buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *bytes, size_t size);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Removes the first `size` bytes. */
void buf_consume(struct buf *b, size_t size);

/* Frees the memory; the buffer is empty and usable again. */
void buf_free(struct buf *b);
