#include "base/bytes.h"

#include "base/count.h"
#include "base/log.h"

#include <stdlib.h>

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

int slice_order(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->size < y->size ? x->size : y->size);
    if (order == 0)
        order = (x->size > y->size) - (x->size < y->size);
    return order;
}

int slice_same_nocase(struct slice a, struct slice b)
{
    if (a.size != b.size)
        return 0;
    for (size_t i = 0; i < a.size; i++)
        if (lower((uint8_t)a.at[i]) != lower((uint8_t)b.at[i]))
            return 0;
    return 1;
}

int slice_is_nocase(struct slice s, const char *text)
{
    return slice_same_nocase(s, (struct slice){.at = text, .size = strlen(text)});
}

uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
}

static void (*on_exhausted)(size_t asked);

void mem_on_exhausted(void (*last_word)(size_t asked))
{
    on_exhausted = last_word;
}

void *mem_checked(void *memory, size_t asked)
{
    count_add(COUNT_allocations, 1);
    if (memory)
        return memory;
    void (*last_word)(size_t) = on_exhausted;
    on_exhausted = NULL; /* once, even if the last word itself runs out of memory */
    if (last_word)
        last_word(asked);
    PANIC("out of memory: %zu bytes asked for", asked);
}

/* malloc(0) and realloc(p, 0) may answer NULL, which is no failure; a byte more settles it. */
static size_t at_least_one(size_t size)
{
    return size ? size : 1;
}

void *mem_alloc(size_t size)
{
    return mem_checked(malloc(at_least_one(size)), size);
}

void *mem_zero(size_t size)
{
    return mem_checked(calloc(1, at_least_one(size)), size);
}

void *mem_resize(void *memory, size_t size)
{
    return mem_checked(realloc(memory, at_least_one(size)), size);
}

char *mem_text(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}
