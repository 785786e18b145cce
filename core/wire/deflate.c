#include "wire/deflate.h"

#include "base/err.h"

#include <stdlib.h>
#include <zlib.h>

/* A flush ends a message with these, which are not sent; BLOCK_EMPTY and they are a block of nothing. */
static const uint8_t tail[4] = {0x00, 0x00, 0xFF, 0xFF};
static const uint8_t BLOCK_EMPTY = 0x00;

enum { CHUNK = 16 * 1024, MEMORY_LEVEL = 8, WINDOW_MAX = 1 << DEFLATE_BITS_MAX };

struct deflater {
    z_stream stream;
};

struct inflater {
    z_stream stream;
    bool over;    /* a final block has ended, and nothing has come behind it */
    bool between; /* two blocks, which is where a message has to end */
};

/* zlib fails for want of memory, or for arguments that no caller may give. */
static void require(int result)
{
    if (result != Z_OK)
        abort();
}

static void *allocate(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mem_zero((size_t)count * size);
}

static void release(void *opaque, void *memory)
{
    (void)opaque;
    free(memory);
}

struct deflater *deflater_new(uint8_t bits)
{
    struct deflater *d = mem_zero(sizeof *d);
    d->stream.zalloc = allocate;
    d->stream.zfree = release;
    require(
        deflateInit2(&d->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY));
    return d;
}

void deflater_message(struct deflater *d, const void *at, size_t size, bool keep, struct buf *out)
{
    z_stream *z = &d->stream;
    size_t start = out->size;
    z->next_in = (Bytef *)(uintptr_t)at; /* only read */
    z->avail_in = (uInt)size;
    do {
        z->next_out = buf_reserve(out, CHUNK);
        z->avail_out = CHUNK;
        deflate(z, Z_SYNC_FLUSH);
        out->size += CHUNK - z->avail_out;
    } while (z->avail_out == 0);
    /* Flushing twice without a byte between makes nothing. */
    if (out->size - start > sizeof tail)
        out->size -= sizeof tail;
    else
        buf_append(out, &BLOCK_EMPTY, 1);
    if (!keep)
        deflateReset(z);
}

void deflater_free(struct deflater *d)
{
    if (d == NULL)
        return;
    deflateEnd(&d->stream);
    free(d);
}

struct inflater *inflater_new(uint8_t bits)
{
    struct inflater *z = mem_zero(sizeof *z);
    z->stream.zalloc = allocate;
    z->stream.zfree = release;
    require(inflateInit2(&z->stream, -bits));
    return z;
}

/* A message may go on behind a final block, and look back before it (RFC 7692 section 7.2.3.4). */
static void go_on(z_stream *z)
{
    uint8_t window[WINDOW_MAX];
    uInt size = 0;
    inflateGetDictionary(z, window, &size);
    inflateReset(z);
    inflateSetDictionary(z, window, size);
}

/* The next of what the input says, at most `most` bytes in all: zlib's word. */
static int inflate_some(z_stream *z, uint64_t most, struct buf *out, bool *ret_too_big)
{
    uint8_t beyond = 0;
    size_t room = least(most - out->size, CHUNK);
    z->next_out = room > 0 ? buf_reserve(out, room) : &beyond;
    z->avail_out = room > 0 ? (uInt)room : 1;
    int result = inflate(z, Z_SYNC_FLUSH);
    *ret_too_big = room == 0 && z->avail_out == 0;
    if (room > 0)
        out->size += room - z->avail_out;
    return result;
}

static int inflate_all(struct inflater *i, const uint8_t *at, size_t size, uint64_t most, struct buf *out)
{
    z_stream *z = &i->stream;
    bool too_big;
    z->next_in = (Bytef *)(uintptr_t)at; /* only read */
    z->avail_in = (uInt)size;
    for (;;) {
        if (i->over && z->avail_in == 0)
            return 0;
        if (i->over)
            go_on(z);
        int result = inflate_some(z, most, out, &too_big);
        i->over = result == Z_STREAM_END;
        /* zlib forgets it with a call that has nothing to do, which may yet be what ends a block. */
        i->between = (i->between && result == Z_BUF_ERROR) || (z->data_type & 128);
        if (result == Z_BUF_ERROR)
            return 0;
        /* Told first: where the bytes are cut decides whether the same call meets what is wrong behind it. */
        if (too_big)
            return ERR_TOO_BIG;
        if (result != Z_OK && result != Z_STREAM_END)
            return ERR_INFLATE;
    }
}

int inflater_take(struct inflater *i, const uint8_t *at, size_t size, bool last, uint64_t most,
                  struct buf *out)
{
    int err = size > 0 ? inflate_all(i, at, size, most, out) : 0;
    if (err < 0 || !last || i->over)
        return err;
    err = inflate_all(i, tail, sizeof tail, most, out);
    return err == 0 && !i->between ? ERR_INFLATE : err;
}

void inflater_free(struct inflater *i)
{
    if (i == NULL)
        return;
    inflateEnd(&i->stream);
    free(i);
}

void inflation_release(struct inflation *i)
{
    inflater_free(i->inflater);
    i->inflater = NULL;
}
