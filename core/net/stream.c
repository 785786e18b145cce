#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static enum io failed(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_FAILED;
}

enum io stream_read(struct stream *s, void *into, size_t size, size_t *ret_size)
{
    ssize_t got;
    do
        got = recv(s->fd, into, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return failed();
    if (got == 0)
        return IO_CLOSED;
    *ret_size = (size_t)got;
    return IO_DONE;
}

enum io stream_writev(struct stream *s, const struct iovec *vector, int count, size_t *ret_size)
{
    /* sendmsg, since writev would raise SIGPIPE. It only reads the vector, though its type does not say so.
     */
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = (size_t)count};
    ssize_t put;
    do
        put = sendmsg(s->fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return failed();
    *ret_size = (size_t)put;
    return IO_DONE;
}

void stream_shutdown(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
