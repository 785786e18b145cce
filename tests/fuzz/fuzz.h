/* What the fuzz targets share. Each is one LLVMFuzzerTestOneInput that aborts when a promise is broken. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

#define EXPECT(condition) ((condition) ? (void)0 : abort())

/* Takes the first byte off the input, 0 where there is none. */
static inline uint8_t fuzz_byte(const uint8_t **at, size_t *size)
{
    if (*size == 0)
        return 0;
    --*size;
    return *(*at)++;
}

/* In memory of exactly that size, so that reading beyond it is found. Release with free(). */
static inline void *fuzz_copy(const void *at, size_t size)
{
    void *copy = mem_alloc(size);
    if (size > 0)
        memcpy(copy, at, size);
    return copy;
}

/* Takes the text up to a zero byte or the end, terminated, off the input. Release with free(). */
static inline char *fuzz_text(const uint8_t **at, size_t *size)
{
    size_t length = strnlen((const char *)*at, *size);
    char *text = mem_zero(length + 1);
    if (length > 0)
        memcpy(text, *at, length);
    size_t gone = length < *size ? length + 1 : length;
    *at += gone;
    *size -= gone;
    return text;
}
