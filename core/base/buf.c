#include "base/buf.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SMALLEST_CAPACITY = 64 };

static void grow(struct buf *b, size_t more)
{
    size_t wanted = b->size + more;
    if (wanted < more)
        PANIC("buffer of %zu bytes cannot grow by %zu", b->size, more);
    size_t doubled = b->capacity ? 2 * b->capacity : SMALLEST_CAPACITY;
    b->capacity = doubled > wanted ? doubled : wanted;
    b->at = mem_resize(b->at, b->capacity);
}

uint8_t *buf_reserve(struct buf *b, size_t more)
{
    if (!b->at || b->capacity - b->size < more)
        grow(b, more);
    return b->at + b->size;
}

void buf_append(struct buf *b, const void *bytes, size_t size)
{
    if (size == 0)
        return; /* bytes may then be NULL */
    memcpy(buf_reserve(b, size), bytes, size);
    b->size += size;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        PANIC("bad format: %s", format);
    size_t room = (size_t)length + 1; /* vsnprintf writes a NUL, which is not counted */
    vsnprintf((char *)buf_reserve(b, room), room, format, again);
    va_end(again);
    b->size += (size_t)length;
}

void buf_consume(struct buf *b, size_t size)
{
    if (size > b->size)
        PANIC("%zu bytes consumed of %zu", size, b->size);
    if (size == 0)
        return;
    b->size -= size;
    memmove(b->at, b->at + size, b->size);
}

void buf_free(struct buf *b)
{
    free(b->at);
    *b = (struct buf){0};
}
