#include "ring.h"

#include "base/bytes.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
    int fd;
    unsigned noted;
    struct io_uring_sqe *entries;
    unsigned *sq_array;
    _Atomic unsigned *sq_tail, *cq_head, *cq_tail;
    unsigned sq_mask, cq_mask;
    struct io_uring_cqe *done;
};

static void *map(int fd, size_t size, off_t what)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    if (at == MAP_FAILED)
        abort();
    return at;
}

struct ring *ring_new(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &p);
    if (fd < 0)
        return NULL;
    struct ring *r = mem_zero(sizeof *r);
    r->fd = fd;
    uint8_t *sq = map(fd, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    uint8_t *cq = map(fd, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    r->entries = map(fd, p.sq_entries * sizeof *r->entries, IORING_OFF_SQES);
    r->sq_tail = (void *)(sq + p.sq_off.tail);
    r->sq_array = (void *)(sq + p.sq_off.array);
    r->sq_mask = p.sq_entries - 1;
    r->cq_head = (void *)(cq + p.cq_off.head);
    r->cq_tail = (void *)(cq + p.cq_off.tail);
    r->cq_mask = p.cq_entries - 1;
    r->done = (void *)(cq + p.cq_off.cqes);
    return r;
}

void ring_send(struct ring *r, int fd, const void *at, size_t size, void *owner)
{
    unsigned tail = atomic_load_explicit(r->sq_tail, memory_order_relaxed);
    unsigned index = tail & r->sq_mask;
    r->entries[index] = (struct io_uring_sqe){
        .opcode = IORING_OP_SEND,
        .fd = fd,
        .addr = (uintptr_t)at,
        .len = (unsigned)size,
        .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
        .user_data = (uintptr_t)owner,
    };
    r->sq_array[index] = index;
    atomic_store_explicit(r->sq_tail, tail + 1, memory_order_release);
    r->noted++;
}

static void reap(struct ring *r, void (*done)(void *, int))
{
    unsigned head = atomic_load_explicit(r->cq_head, memory_order_relaxed);
    unsigned tail = atomic_load_explicit(r->cq_tail, memory_order_acquire);
    for (; head != tail; head++) {
        const struct io_uring_cqe *c = &r->done[head & r->cq_mask];
        done((void *)(uintptr_t)c->user_data, c->res); // NOLINT(performance-no-int-to-ptr)
        r->noted--;
    }
    atomic_store_explicit(r->cq_head, head, memory_order_release);
}

void ring_submit(struct ring *r, void (*done)(void *, int))
{
    unsigned unsubmitted = r->noted;
    while (r->noted > 0) {
        long taken =
            syscall(SYS_io_uring_enter, r->fd, unsubmitted, r->noted, IORING_ENTER_GETEVENTS, NULL, 0);
        if (taken < 0 && errno != EINTR)
            abort();
        if (taken > 0)
            unsubmitted -= (unsigned)taken;
        reap(r, done);
    }
}
