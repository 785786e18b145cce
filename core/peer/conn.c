#include "peer/conn.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "net/sock.h"

#include <stdlib.h>

/* A gather is capped, so that one fast reader with a long queue does not keep the others waiting. */
enum { FLUSH_VECTORS = 64, FLUSH_BYTES = 256 * 1024 };

/* No message has this key, nor a gap notice. */
static const uint64_t URGENT_KEY = UINT64_MAX - 1;

/* What the stream has read ahead makes no descriptor ready. */
static void read_ahead(struct conn *c)
{
    if (c->reading && stream_pending(&c->stream) > 0)
        ev_feed_event(loop_ev(c->loop), &c->io, EV_READ);
}

static void watch(struct conn *c, int events)
{
    struct ev_loop *ev = loop_ev(c->loop);
    if ((c->io.events & (EV_READ | EV_WRITE)) == events && ev_is_active(&c->io) == (events != 0))
        return;
    ev_io_stop(ev, &c->io);
    ev_io_set(&c->io, c->stream.fd, events);
    if (events != 0)
        ev_io_start(ev, &c->io);
    read_ahead(c); /* stopping forgets what was fed */
}

struct deflater *deflaters_get(struct deflaters *d, unsigned format)
{
    if (d->of[format] == NULL)
        d->of[format] = deflater_new((uint8_t)(format + DEFLATE_BITS_MIN - 1));
    return d->of[format];
}

void deflaters_free(struct deflaters *d)
{
    for (unsigned format = 0; format < CAST_FORMATS; format++)
        deflater_free(d->of[format]);
}

struct blob *conn_deflate(const struct cast *cast, struct deflater *deflater, bool keep)
{
    uint64_t began_ns = clock_now_ns();
    struct blob *frame = message_frame_deflated(cast->text ? FRAME_TEXT : FRAME_BINARY, cast->payload.at,
                                                cast->payload.size, deflater, keep, NULL, cast->now_ns);
    frame->key = cast->key;
    count_add(COUNT_messages_deflated, 1);
    count_add(COUNT_deflate_ns, clock_now_ns() - began_ns);
    return frame;
}

void conn_open(struct conn *c, struct loop *loop, struct stream stream, bool server,
               void (*ready)(EV_P_ ev_io *, int))
{
    *c = (struct conn){.loop = loop, .stream = stream, .server = server, .reading = true};
    ev_io_init(&c->io, ready, stream.fd, EV_READ | (stream_unsent(&stream) ? EV_WRITE : 0));
    ev_io_start(loop_ev(loop), &c->io);
    read_ahead(c);
}

void conn_compress(struct conn *c, const struct deflate_terms *terms)
{
    if (!terms->on)
        return;
    uint8_t own_bits = c->server ? terms->server_bits : terms->client_bits;
    bool own_context = c->server ? !terms->server_no_context : !terms->client_no_context;
    c->inflation = mem_zero(sizeof *c->inflation);
    c->inflation->bits = c->server ? terms->client_bits : terms->server_bits;
    c->inflation->keep_context = c->server ? !terms->client_no_context : !terms->server_no_context;
    c->format = (uint8_t)(own_bits - DEFLATE_BITS_MIN + 1);
    if (own_context)
        c->deflater = deflater_new(own_bits);
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
    read_ahead(c);
}

struct incoming {
    struct message_reader reader;
    uint64_t since_ns;
};

/* A reader lives on the stack for as long as messages come whole, and moves to the heap only with one that
 * does not. `ended`: a message has ended since the reader was last put away. */
static void keep_reader(struct conn *c, struct message_reader *reader, bool ended)
{
    if (message_reader_idle(reader)) {
        message_reader_free(reader);
        free(c->incoming);
        c->incoming = NULL;
        return;
    }
    if (c->incoming == NULL) {
        c->incoming = mem_alloc(sizeof *c->incoming);
        c->incoming->reader = *reader;
        ended = true;
    }
    if (ended)
        c->incoming->since_ns = loop_now_ns(c->loop);
}

static bool is_data(const struct message *message)
{
    return message->kind == MESSAGE_TEXT || message->kind == MESSAGE_BINARY;
}

int conn_take(struct conn *c, uint8_t *at, size_t size, const struct conn_limits *limits,
              bool (*got)(struct conn *, const struct message *))
{
    struct message_reader local;
    struct message_reader *reader = &local;
    struct message message;
    bool more = true, ended = false;
    if (c->incoming != NULL) {
        reader = &c->incoming->reader;
    } else {
        message_reader_init(reader, c->server, limits->max_message);
        reader->max_fragments = limits->max_fragments;
        reader->inflation = c->inflation;
    }
    while (size > 0 && more) {
        long took = message_read(reader, at, size, &message);
        if (took < 0) {
            if (reader == &local)
                message_reader_free(reader);
            return (int)took;
        }
        at += took;
        size -= (size_t)took;
        ended = ended || is_data(&message);
        if (message.kind != MESSAGE_NONE)
            more = got(c, &message);
    }
    keep_reader(c, reader, ended);
    return 0;
}

long conn_receive(struct conn *c, const struct conn_limits *limits, uint64_t most,
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
    int err = conn_take(c, scratch, size, limits, got);
    read_ahead(c);
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
    if (!conn_drained(c)) {
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
    watch(c, (c->reading ? EV_READ : 0) | (conn_drained(c) ? 0 : EV_WRITE));
    return true;
}

bool conn_drained(const struct conn *c)
{
    return c->out.count == 0 && !stream_unsent(&c->stream);
}

size_t conn_incoming_bytes(const struct conn *c)
{
    return c->incoming != NULL ? c->incoming->reader.body.capacity : 0;
}

uint64_t conn_incoming_since_ns(const struct conn *c)
{
    return c->incoming != NULL && !c->incoming->reader.closed ? c->incoming->since_ns : 0;
}

void conn_close(struct conn *c, bool reset)
{
    ev_io_stop(loop_ev(c->loop), &c->io);
    if (reset)
        sock_reset_on_close(c->stream.fd);
    stream_close(&c->stream);
    sendq_free(&c->out);
    if (c->incoming != NULL)
        message_reader_free(&c->incoming->reader);
    if (c->inflation != NULL)
        inflation_release(c->inflation);
    deflater_free(c->deflater);
    free(c->incoming);
    free(c->inflation);
    c->incoming = NULL;
    c->inflation = NULL;
    c->deflater = NULL;
}
