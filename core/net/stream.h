/* A connected byte stream, plain or TLS. Few functions and four outcomes, so that nobody else needs to know
 * what carries it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct tls_context;

enum io {
    IO_DONE,   /* some bytes moved */
    IO_AGAIN,  /* none now; wait for the descriptor */
    IO_CLOSED, /* the far end has ended its side */
    IO_FAILED  /* broken: errno says why, or stream_error of TLS */
};

struct stream {
    int fd;
    void *tls; /* NULL: plain */
};

/* From now on TLS, with the handshake still to come. 0 or ERR_TLS. */
int stream_secure(struct stream *s, struct tls_context *c);
/* Goes on with the handshake; IO_DONE once it is through, and at once on a plain stream. */
enum io stream_handshake(struct stream *s);
/* After IO_AGAIN of a handshake: wait until the descriptor is writable, not readable. */
bool stream_wants_write(const struct stream *s);
/* Why it failed, in words: the system's, or TLS's ("certificate verify failed: self-signed certificate"). */
const char *stream_error(const struct stream *s);
/* Whether this handshake resumed a session. */
bool stream_resumed(const struct stream *s);

/* Reads what there is, up to `size`. */
enum io stream_read(struct stream *s, void *into, size_t size, size_t *ret_size);
/* Bytes that have come off the descriptor and not been read: it will not turn readable for them. */
size_t stream_pending(const struct stream *s);
/* Bytes that TLS has taken (they count as written) may still be here: see stream_unsent. */
enum io stream_write(struct stream *s, struct iovec piece, size_t *ret_size);
enum io stream_writev(struct stream *s, const struct iovec *vector, int count, size_t *ret_size);
/* The outcome of a call on the descriptor that failed with this errno. */
enum io stream_failure(int error);
/* Whether bytes that count as written wait for the descriptor: call stream_writev again, if need be with
 * none, when it is writable. */
bool stream_unsent(const struct stream *s);
/* No more from us; the far end reads what is queued, then an end. */
void stream_shutdown(struct stream *s);
void stream_close(struct stream *s);
