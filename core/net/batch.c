#include "net/batch.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>

/* What is noted stays in the cache until the kernel looks at it. */
enum { ENTRIES = 256 };
/* Outcomes are int. */
enum { PIECE_MAX = 1 << 30 };

static struct {
    struct io_uring ring;
    unsigned users, noted;
} the;

int batch_open(void)
{
    if (the.users++ > 0)
        return 0;
    /* Nobody else submits, and completions are looked at only in batch_flush. */
    int err =
        io_uring_queue_init(ENTRIES, &the.ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (err == -EINVAL) /* before Linux 6.1 */
        err = io_uring_queue_init(ENTRIES, &the.ring, 0);
    if (err == 0)
        return 0;
    the.users--;
    errno = -err;
    return ERR_SYSTEM;
}

void batch_close(void)
{
    if (--the.users > 0)
        return;
    batch_flush();
    io_uring_queue_exit(&the.ring);
}

void batch_send(int fd, struct iovec piece, int32_t *outcome)
{
    uint32_t size = (uint32_t)least(piece.iov_len, PIECE_MAX);
    if (the.noted == ENTRIES)
        batch_flush();
    struct io_uring_sqe *entry = io_uring_get_sqe(&the.ring);
    io_uring_prep_send(entry, fd, piece.iov_base, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    io_uring_sqe_set_data(entry, outcome);
    the.noted++;
}

static void reap(void)
{
    struct io_uring_cqe *done;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&the.ring, head, done)
    {
        *(int32_t *)io_uring_cqe_get_data(done) = done->res;
        count++;
    }
    io_uring_cq_advance(&the.ring, count);
    the.noted -= count;
}

void batch_flush(void)
{
    while (the.noted > 0) {
        int err = io_uring_submit_and_wait(&the.ring, the.noted);
        if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY)
            PANIC("io_uring_enter: %s", strerror(-err));
        reap();
    }
}
