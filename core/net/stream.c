#include "net/stream.h"

#include "base/err.h"
#include "net/secure.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum io stream_failure(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK ? IO_AGAIN : IO_FAILED;
}

int stream_secure(struct stream *s, struct tls_context *c)
{
    s->tls = secure_new(s->fd, c);
    return s->tls != NULL ? 0 : ERR_TLS;
}

enum io stream_handshake(struct stream *s)
{
    return s->tls != NULL ? secure_handshake(s->tls) : IO_DONE;
}

bool stream_wants_write(const struct stream *s)
{
    return stream_unsent(s);
}

const char *stream_error(const struct stream *s)
{
    return s->tls != NULL ? secure_error(s->tls) : strerror(errno);
}

bool stream_resumed(const struct stream *s)
{
    return s->tls != NULL && secure_resumed(s->tls);
}

enum io stream_read(struct stream *s, void *into, size_t size, size_t *ret_size)
{
    if (s->tls != NULL)
        return secure_read(s->tls, into, size, ret_size);
    ssize_t got;
    do
        got = recv(s->fd, into, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return stream_failure(errno);
    if (got == 0)
        return IO_CLOSED;
    *ret_size = (size_t)got;
    return IO_DONE;
}

size_t stream_pending(const struct stream *s)
{
    return s->tls != NULL ? secure_pending(s->tls) : 0;
}

/* send where there is one piece: the kernel spares itself the copy of the message's head (3 % of a
 * delivery). */
enum io stream_write(struct stream *s, struct iovec piece, size_t *ret_size)
{
    if (s->tls != NULL)
        return secure_writev(s->tls, &piece, 1, ret_size);
    ssize_t put;
    do
        put = send(s->fd, piece.iov_base, piece.iov_len, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return stream_failure(errno);
    *ret_size = (size_t)put;
    return IO_DONE;
}

enum io stream_writev(struct stream *s, const struct iovec *vector, int count, size_t *ret_size)
{
    if (s->tls != NULL)
        return secure_writev(s->tls, vector, count, ret_size);
    if (count == 1)
        return stream_write(s, vector[0], ret_size);
    /* Not writev, which would raise SIGPIPE. sendmsg only reads the vector, though its type does not say so.
     */
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = (size_t)count};
    ssize_t put;
    do
        put = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return stream_failure(errno);
    *ret_size = (size_t)put;
    return IO_DONE;
}

bool stream_unsent(const struct stream *s)
{
    return s->tls != NULL && secure_unsent(s->tls);
}

void stream_shutdown(struct stream *s)
{
    if (s->tls != NULL)
        secure_shutdown(s->tls);
    else
        shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
    if (s->tls != NULL)
        secure_free(s->tls);
    s->tls = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
