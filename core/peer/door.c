#include "peer/door.h"

#include "base/buf.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "net/stream.h"
#include "wire/http1.h"
#include "wire/upgrade.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A burst of connections must not keep those that are open from being served. */
enum { ACCEPTS_A_TURN = 64, RETRY_AFTER_S = 5 };

struct door {
    struct loop *loop;
    struct door_owner *owner;
    const struct door_config *config;
    int listening; /* -1 once shut */
    ev_io io;
    struct link visitors; /* oldest first: all have the same time to finish */
};

struct visitor {
    struct door *door;
    struct link link;
    struct stream stream;
    ev_io io;
    struct buf head;
    struct http1_scan scan;
    uint64_t since_ns;
    bool
        refused; /* answered; what still comes is read and forgotten, so that no reset overtakes the answer */
};

static void visitor_free(struct visitor *v)
{
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    link_remove(&v->link);
    buf_free(&v->head);
    if (v->stream.fd >= 0)
        stream_close(&v->stream);
    free(v);
}

/* An answer to a fresh socket always fits into its send buffer; if it does not, the peer is not worth more.
 */
static bool answer(struct visitor *v, const struct buf *out)
{
    struct iovec whole = {out->at, out->size};
    size_t written = 0;
    return stream_writev(&v->stream, &whole, 1, &written) == IO_DONE && written == out->size;
}

static void refuse(struct visitor *v, int err)
{
    struct buf out = {0};
    upgrade_refuse(err, RETRY_AFTER_S, &out);
    bool sent = answer(v, &out);
    buf_free(&out);
    buf_free(&v->head);
    count_add(COUNT_connections_refused, 1);
    if (!sent) {
        visitor_free(v);
        return;
    }
    v->refused = true;
    stream_shutdown(&v->stream);
}

static void upgrade(struct visitor *v, const struct http1_head *request, uint8_t *rest, size_t rest_size)
{
    struct slice path, query;
    struct buf out = {0};
    http1_split_target(request->target, &path, &query);
    int err = upgrade_check_request(request);
    if (err == 0)
        err = v->door->owner->admit(v->door->owner, path);
    if (err < 0) {
        refuse(v, err);
        return;
    }
    upgrade_accept(request, (struct slice){0}, (struct slice){0}, &out);
    if (answer(v, &out)) {
        int fd = v->stream.fd;
        v->stream.fd = -1;
        ev_io_stop(loop_ev(v->door->loop), &v->io);
        count_add(COUNT_connections_upgraded, 1);
        v->door->owner->enter(v->door->owner, fd, path, query, rest, rest_size);
    }
    buf_free(&out);
    visitor_free(v);
}

static void visitor_got(struct visitor *v, uint8_t *at, size_t size)
{
    struct http1_head request;
    struct http1_limits limits = {.bytes = v->door->config->max_head, .headers = HTTP1_HEADERS_MAX};
    int used = http1_request((const char *)at, size, &limits, &v->scan, &request);
    if (used < 0)
        refuse(v, used);
    else if (used > 0)
        upgrade(v, &request, at + used, size - (size_t)used);
    else if (at != v->head.at)
        buf_append(&v->head, at, size);
}

static void visitor_ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)events;
    struct visitor *v = io->data;
    uint8_t *scratch = loop_scratch(v->door->loop);
    size_t most = v->head.size > 0 ? v->door->config->max_head : LOOP_SCRATCH_SIZE; /* what would be kept */
    size_t size = 0;
    switch (stream_read(&v->stream, scratch, least(most, LOOP_SCRATCH_SIZE), &size)) {
    case IO_AGAIN: return;
    case IO_CLOSED:
    case IO_FAILED: visitor_free(v); return;
    case IO_DONE: break;
    }
    if (v->refused)
        return;
    if (v->head.size == 0) {
        visitor_got(v, scratch, size);
        return;
    }
    buf_append(&v->head, scratch, size);
    visitor_got(v, v->head.at, v->head.size);
}

static void visitor_new(struct door *d, int fd)
{
    struct visitor *v = mem_zero(sizeof *v);
    v->door = d;
    v->stream.fd = fd;
    v->since_ns = loop_now_ns(d->loop);
    link_init(&v->link);
    list_append(&d->visitors, &v->link);
    ev_io_init(&v->io, visitor_ready, fd, EV_READ);
    v->io.data = v;
    ev_io_start(loop_ev(d->loop), &v->io);
    count_add(COUNT_connections_accepted, 1);
}

/* Out of descriptors the listening socket stays readable: without a pause the loop would spin on it. */
static void pause_accepting(struct door *d, int error)
{
    if (ev_is_active(&d->io)) {
        log_line(LOG_WARN, "accepting pauses: %s", strerror(error));
        count_add(COUNT_accept_pauses, 1);
        ev_io_stop(loop_ev(d->loop), &d->io);
    }
}

static void door_ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)events;
    struct door *d = io->data;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = sock_accept(d->listening, &d->config->sock);
        if (fd >= 0) {
            visitor_new(d, fd);
        } else if (fd == -ECONNABORTED || fd == -EINTR || fd == -EPROTO) {
            continue; /* that client left while it waited; the next one may not have */
        } else {
            if (fd != -EAGAIN)
                pause_accepting(d, -fd);
            return;
        }
    }
}

struct door *door_new(struct loop *l, int listening, struct door_owner *owner,
                      const struct door_config *config)
{
    struct door *d = mem_zero(sizeof *d);
    *d = (struct door){.loop = l, .owner = owner, .config = config, .listening = listening};
    link_init(&d->visitors);
    ev_io_init(&d->io, door_ready, listening, EV_READ);
    d->io.data = d;
    ev_io_start(loop_ev(l), &d->io);
    return d;
}

void door_tick(struct door *d)
{
    uint64_t now_ns = loop_now_ns(d->loop);
    while (!list_empty(&d->visitors)) {
        struct visitor *v = LIST_OF(d->visitors.next, struct visitor, link);
        if (now_ns - v->since_ns < d->config->handshake_timeout_ns)
            break;
        if (!v->refused)
            count_add(COUNT_connections_timed_out, 1);
        visitor_free(v);
    }
    if (d->listening >= 0)
        ev_io_start(loop_ev(d->loop), &d->io);
}

void door_shut(struct door *d)
{
    while (!list_empty(&d->visitors))
        visitor_free(LIST_OF(d->visitors.next, struct visitor, link));
    if (d->listening < 0)
        return;
    ev_io_stop(loop_ev(d->loop), &d->io);
    close(d->listening);
    d->listening = -1;
}

void door_free(struct door *d)
{
    if (d == NULL)
        return;
    door_shut(d);
    free(d);
}
