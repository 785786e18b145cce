/* Borrowed bytes, big-endian numbers, and memory that is never NULL. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that somebody else owns; not terminated. */
struct slice {
    const char *at;
    size_t size;
};

#define SLICE(literal) ((struct slice){.at = (literal), .size = sizeof(literal) - 1})

/* The smaller of what is wanted and what there is room for. */
static inline size_t least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

static inline int slice_same(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

static inline int slice_is(struct slice s, const char *text)
{
    return slice_same(s, (struct slice){.at = text, .size = strlen(text)});
}

/* Of two struct slice, for tsearch(3): by bytes, the shorter first. */
int slice_order(const void *a, const void *b);

/* As slice_same and slice_is, ASCII letters compared without case. */
int slice_same_nocase(struct slice a, struct slice b);
int slice_is_nocase(struct slice s, const char *text);

uint16_t get_u16(const uint8_t *at);
uint64_t get_u64(const uint8_t *at);
void put_u16(uint8_t *at, uint16_t value);
void put_u64(uint8_t *at, uint64_t value);

/* As malloc, calloc, realloc and strdup, but they do not return without memory: see mem_on_exhausted.
 * Release with free(). */
void *mem_alloc(size_t size);
void *mem_zero(size_t size);
void *mem_resize(void *memory, size_t size);
char *mem_text(const char *text);
/* The memory, or the end that the above come to when it is NULL: for other allocators. */
void *mem_checked(void *memory, size_t asked);

/* Called once with the size asked for, just before the process aborts for want of memory: the place to leave
 * a last word in shared memory. It must not allocate. */
void mem_on_exhausted(void (*last_word)(size_t asked));
