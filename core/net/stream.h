/* A connected byte stream. Four functions and four outcomes, so that nobody else needs to know what carries
 * it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum io {
    IO_DONE,   /* some bytes moved */
    IO_AGAIN,  /* none now; wait for the descriptor */
    IO_CLOSED, /* the far end has ended its side */
    IO_FAILED  /* broken: errno says why */
};

struct stream {
    int fd;
};

enum io stream_read(struct stream *s, void *into, size_t size, size_t *ret_size);
enum io stream_writev(struct stream *s, const struct iovec *vector, int count, size_t *ret_size);
/* No more from us; the far end reads what is queued, then an end. */
void stream_shutdown(struct stream *s);
void stream_close(struct stream *s);
