#include "peer/conn.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/pool.h"
#include "net/sock.h"

#include <stdlib.h>

/* A gather is capped, so that one fast reader with a long queue does not keep the others waiting. */
enum { FLUSH_VECTORS = 512, FLUSH_BYTES = 256 * 1024 };

/* No message has this key, nor a gap notice. */
static const uint64_t URGENT_KEY = UINT64_MAX - 1;

static struct pool works = POOL_OF(works, struct conn_work);

static struct conn_owner *owner_of(const struct conn *c)
{
    return c->io.data;
}

static struct loop *loop_of(const struct conn *c)
{
    return owner_of(c)->loop;
}

static void on_turn_end(struct turn *t)
{
    struct conn *c = t->owner;
    owner_of(c)->turn_end(c);
}

struct conn_work *conn_work(struct conn *c)
{
    if (c->work != NULL)
        return c->work;
    struct conn_work *work = pool_take(&works);
    *work = (struct conn_work){0};
    turn_init(&work->turn, on_turn_end);
    work->turn.owner = c;
    ledger_entry_init(&work->queued);
    return c->work = work;
}

void conn_at_turn_end(struct conn *c)
{
    loop_at_turn_end(loop_of(c), &conn_work(c)->turn);
}

void conn_rest(struct conn *c)
{
    struct conn_work *work = c->work;
    if (work == NULL || work->out.count > 0 || !list_empty(&work->turn.link) || work->queued.bytes > 0 ||
        work->incoming != NULL || work->inflater != NULL || work->deflater != NULL)
        return;
    if (work->out.capacity > SENDQ_FEW)
        sendq_free(&work->out);
    pool_put(&works, work);
    c->work = NULL;
}

void conn_trim(uint64_t now_ns)
{
    pool_trim(&works, now_ns);
}

/* What the stream has read ahead makes no descriptor ready. */
static void read_ahead(struct conn *c)
{
    if (c->reading && stream_pending(&c->stream) > 0)
        ev_feed_event(loop_ev(loop_of(c)), &c->io, EV_READ);
}

static void watch(struct conn *c, int events)
{
    struct ev_loop *ev = loop_ev(loop_of(c));
    if ((c->io.events & (EV_READ | EV_WRITE)) == events && ev_is_active(&c->io) == (events != 0))
        return;
    ev_io_stop(ev, &c->io);
    ev_io_modify(&c->io, events);
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

void conn_open(struct conn *c, struct conn_owner *owner, struct stream stream, bool server,
               void (*ready)(EV_P_ ev_io *, int))
{
    *c = (struct conn){.stream = stream, .server = server, .reading = true};
    ev_io_init(&c->io, ready, stream.fd, EV_READ | (stream_unsent(&stream) ? EV_WRITE : 0));
    c->io.data = owner;
    if (server)
        c->io.events &= ~EV__IOFDSET; /* libev has watched it for the door: no epoll_ctl to add it again */
    ev_io_start(loop_ev(owner->loop), &c->io);
    read_ahead(c);
}

void conn_compress(struct conn *c, const struct deflate_terms *terms)
{
    if (!terms->on)
        return;
    uint8_t own_bits = c->server ? terms->server_bits : terms->client_bits;
    bool own_context = c->server ? !terms->server_no_context : !terms->client_no_context;
    c->inflate_bits = c->server ? terms->client_bits : terms->server_bits;
    c->inflate_keep = c->server ? !terms->client_no_context : !terms->server_no_context;
    c->format = (uint8_t)(own_bits - DEFLATE_BITS_MIN + 1);
    if (own_context)
        conn_work(c)->deflater = deflater_new(own_bits);
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

static struct incoming *incoming_of(const struct conn *c)
{
    return c->work != NULL ? c->work->incoming : NULL;
}

/* A reader lives on the stack for as long as messages come whole, and moves to the heap only with one that
 * does not. `ended`: a message has ended since the reader was last put away. */
static void keep_reader(struct conn *c, struct message_reader *reader, bool ended)
{
    struct incoming *incoming = incoming_of(c);
    if (message_reader_idle(reader)) {
        message_reader_free(reader);
        free(incoming);
        if (incoming != NULL)
            c->work->incoming = NULL;
        return;
    }
    if (incoming == NULL) {
        incoming = conn_work(c)->incoming = mem_alloc(sizeof *incoming);
        incoming->reader = *reader;
        ended = true;
    }
    if (ended)
        incoming->since_ns = loop_now_ns(loop_of(c));
}

/* The context of the peer's messages, for as long as some are read. */
static struct inflation take_inflation(const struct conn *c)
{
    return (struct inflation){.inflater = c->work != NULL ? c->work->inflater : NULL,
                              .bits = c->inflate_bits,
                              .keep_context = c->inflate_keep};
}

static void keep_inflation(struct conn *c, const struct inflation *inflation)
{
    if (inflation->inflater != NULL || c->work != NULL)
        conn_work(c)->inflater = inflation->inflater;
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
    struct inflation inflation = take_inflation(c);
    struct message message;
    long took = 0;
    bool more = true, ended = false;
    if (incoming_of(c) != NULL) {
        reader = &c->work->incoming->reader;
    } else {
        message_reader_init(reader, c->server, limits->max_message);
        reader->max_fragments = limits->max_fragments;
    }
    reader->inflation = c->inflate_bits > 0 ? &inflation : NULL;
    while (size > 0 && more) {
        took = message_read(reader, at, size, &message);
        if (took < 0)
            break;
        at += took;
        size -= (size_t)took;
        ended = ended || is_data(&message);
        if (message.kind != MESSAGE_NONE)
            more = got(c, &message);
    }
    reader->inflation = NULL;
    if (took >= 0)
        keep_reader(c, reader, ended);
    else if (reader == &local)
        message_reader_free(reader);
    keep_inflation(c, &inflation);
    conn_rest(c);
    return took < 0 ? (int)took : 0;
}

long conn_receive(struct conn *c, const struct conn_limits *limits, uint64_t most,
                  bool (*got)(struct conn *, const struct message *))
{
    uint8_t *scratch = loop_scratch(loop_of(c));
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

long conn_discard(struct conn *c)
{
    size_t size;
    switch (stream_read(&c->stream, loop_scratch(loop_of(c)), LOOP_SCRATCH_SIZE, &size)) {
    case IO_DONE:
    case IO_AGAIN: return 0;
    case IO_CLOSED:
    case IO_FAILED: break;
    }
    return ERR_CLOSED;
}

void conn_push_urgent(struct conn *c, struct blob *frame)
{
    struct sendq *out = conn_out(c);
    struct blob *first = sendq_first_unstarted(out);
    if (first != NULL && first->key == URGENT_KEY)
        sendq_drop_oldest(out, first->size);
    frame->key = URGENT_KEY;
    sendq_push_front(out, frame);
}

static __attribute__((noinline)) enum io write_many(struct conn *c, size_t *ret_asked, size_t *ret_written)
{
    struct iovec vector[FLUSH_VECTORS];
    int count = sendq_gather(&c->work->out, vector, FLUSH_VECTORS, FLUSH_BYTES);
    size_t asked = 0;
    for (int i = 0; i < count; i++)
        asked += vector[i].iov_len;
    *ret_asked = asked;
    return stream_writev(&c->stream, vector, count, ret_written);
}

/* ret_asked: what was to be written, all of the queue or a fair share. */
static enum io write_front(struct conn *c, size_t *ret_asked, size_t *ret_written)
{
    if (c->work->out.count != 1)
        return write_many(c, ret_asked, ret_written);
    struct iovec piece = sendq_front(&c->work->out);
    *ret_asked = piece.iov_len;
    return stream_write(&c->stream, piece, ret_written);
}

bool conn_clear(const struct conn *c)
{
    const struct conn_work *work = c->work;
    return (work == NULL ||
            (work->out.count == 0 && work->deflater == NULL && list_empty(&work->turn.link))) &&
           !stream_unsent(&c->stream);
}

uint32_t conn_took(struct conn *c, size_t written)
{
    uint32_t frames = sendq_settle(conn_out(c), written);
    watch(c, (c->reading ? EV_READ : 0) | (conn_drained(c) ? 0 : EV_WRITE));
    return frames;
}

bool conn_flush(struct conn *c, uint32_t *ret_frames, size_t *ret_bytes)
{
    size_t asked = 0, written = 0;
    bool drained = conn_drained(c);
    *ret_frames = 0;
    *ret_bytes = 0;
    if (!drained) {
        struct sendq *out = conn_out(c);
        switch (write_front(c, &asked, &written)) {
        case IO_DONE:
            *ret_frames = sendq_settle(out, written);
            *ret_bytes = written;
            break;
        case IO_AGAIN: break;
        case IO_CLOSED:
        case IO_FAILED: return false;
        }
        drained = conn_drained(c);
    }
    /* What exceeds a fair share goes on when the others have had theirs; the descriptor need not be asked. */
    bool more = written > 0 && written == asked && c->work->out.count > 0 && !stream_unsent(&c->stream);
    if (more)
        conn_at_turn_end(c);
    watch(c, (c->reading ? EV_READ : 0) | (drained || more ? 0 : EV_WRITE));
    return true;
}

bool conn_drained(const struct conn *c)
{
    return (c->work == NULL || c->work->out.count == 0) && !stream_unsent(&c->stream);
}

size_t conn_incoming_bytes(const struct conn *c)
{
    const struct incoming *incoming = incoming_of(c);
    return incoming != NULL ? incoming->reader.body.capacity : 0;
}

uint64_t conn_incoming_since_ns(const struct conn *c)
{
    const struct incoming *incoming = incoming_of(c);
    return incoming != NULL && !incoming->reader.closed ? incoming->since_ns : 0;
}

static void free_work(struct conn_work *work)
{
    turn_cancel(&work->turn);
    sendq_free(&work->out);
    if (work->incoming != NULL)
        message_reader_free(&work->incoming->reader);
    free(work->incoming);
    inflater_free(work->inflater);
    deflater_free(work->deflater);
    pool_put(&works, work);
}

void conn_close(struct conn *c, bool reset)
{
    ev_io_stop(loop_ev(loop_of(c)), &c->io);
    if (reset)
        sock_reset_on_close(c->stream.fd);
    stream_close(&c->stream);
    if (c->work != NULL)
        free_work(c->work);
    c->work = NULL;
}

struct blob *conn_frame(struct conn *c, struct cast *cast, uint64_t deflate_min, bool copy)
{
    struct deflater *own = conn_deflater(c);
    if (own == NULL || cast->payload.size < deflate_min)
        return cast_frame(cast, c->format, deflate_min, copy);
    return conn_deflate(cast, own, true);
}
