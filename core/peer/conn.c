#include "peer/conn.h"

#include "base/count.h"
#include "base/err.h"
#include "net/sock.h"

#include <stdlib.h>

/* A gather is capped, so that one fast reader with a long queue does not keep the others waiting. */
enum { FLUSH_VECTORS = 64, FLUSH_BYTES = 256 * 1024 };

/* No message has this key, nor a gap notice. */
static const uint64_t URGENT_KEY = UINT64_MAX - 1;

static void watch(struct conn *c, int events)
{
    struct ev_loop *ev = loop_ev(c->loop);
    if ((c->io.events & (EV_READ | EV_WRITE)) == events && ev_is_active(&c->io) == (events != 0))
        return;
    ev_io_stop(ev, &c->io);
    ev_io_set(&c->io, c->stream.fd, events);
    if (events != 0)
        ev_io_start(ev, &c->io);
}

void conn_open(struct conn *c, struct loop *loop, int fd, bool server, void (*ready)(EV_P_ ev_io *, int))
{
    *c = (struct conn){.loop = loop, .stream = {fd}, .server = server, .reading = true};
    ev_io_init(&c->io, ready, fd, EV_READ);
    ev_io_start(loop_ev(loop), &c->io);
}

void conn_wait_writable(struct conn *c)
{
    c->reading = false;
    watch(c, EV_WRITE);
}

void conn_read_on(struct conn *c, bool on)
{
    c->reading = on;
    watch(c, (on ? EV_READ : 0) | (c->io.events & EV_WRITE));
}

/* A reader lives on the stack for as long as messages come whole, and moves to the heap only with one that
 * does not. */
static void keep_reader(struct conn *c, struct message_reader *reader)
{
    if (!message_reader_idle(reader)) {
        if (c->reader == NULL) {
            c->reader = mem_alloc(sizeof *c->reader);
            *c->reader = *reader;
        }
        return;
    }
    message_reader_free(reader);
    free(c->reader);
    c->reader = NULL;
}

int conn_take(struct conn *c, uint8_t *at, size_t size, uint64_t limit,
              bool (*got)(struct conn *, const struct message *))
{
    struct message_reader local;
    struct message_reader *reader = c->reader;
    struct message message;
    bool more = true;
    if (reader == NULL) {
        reader = &local;
        message_reader_init(reader, c->server, limit);
    }
    while (size > 0 && more) {
        long took = message_read(reader, at, size, &message);
        if (took < 0) {
            if (c->reader == NULL)
                message_reader_free(reader);
            return (int)took;
        }
        at += took;
        size -= (size_t)took;
        if (message.kind != MESSAGE_NONE)
            more = got(c, &message);
    }
    keep_reader(c, reader);
    return 0;
}

long conn_receive(struct conn *c, uint64_t limit, uint64_t most,
                  bool (*got)(struct conn *, const struct message *))
{
    uint8_t *scratch = loop_scratch(c->loop);
    size_t size = 0;
    switch (stream_read(&c->stream, scratch, least(most, LOOP_SCRATCH_SIZE), &size)) {
    case IO_DONE: break;
    case IO_AGAIN: return 0;
    case IO_CLOSED:
    case IO_FAILED: return ERR_CLOSED;
    }
    int err = conn_take(c, scratch, size, limit, got);
    return err < 0 ? err : (long)size;
}

void conn_push_urgent(struct conn *c, struct blob *frame)
{
    struct blob *first = sendq_first_unstarted(&c->out);
    if (first != NULL && first->key == URGENT_KEY)
        sendq_drop_oldest(&c->out, first->size);
    frame->key = URGENT_KEY;
    sendq_push_front(&c->out, frame);
}

bool conn_flush(struct conn *c, uint32_t *ret_frames, size_t *ret_bytes)
{
    struct iovec vector[FLUSH_VECTORS];
    size_t written = 0;
    *ret_frames = 0;
    *ret_bytes = 0;
    if (c->out.count > 0) {
        int count = sendq_gather(&c->out, vector, FLUSH_VECTORS, FLUSH_BYTES);
        switch (stream_writev(&c->stream, vector, count, &written)) {
        case IO_DONE:
            *ret_frames = sendq_settle(&c->out, written);
            *ret_bytes = written;
            break;
        case IO_AGAIN: break;
        case IO_CLOSED:
        case IO_FAILED: return false;
        }
    }
    watch(c, (c->reading ? EV_READ : 0) | (c->out.count > 0 ? EV_WRITE : 0));
    return true;
}

size_t conn_incoming_bytes(const struct conn *c)
{
    return c->reader != NULL ? c->reader->body.capacity : 0;
}

void conn_close(struct conn *c, bool reset)
{
    ev_io_stop(loop_ev(c->loop), &c->io);
    if (reset)
        sock_reset_on_close(c->stream.fd);
    stream_close(&c->stream);
    sendq_free(&c->out);
    if (c->reader != NULL) {
        message_reader_free(c->reader);
        free(c->reader);
        c->reader = NULL;
    }
}
