#include "peer/door.h"

#include "base/buf.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "net/tls.h"
#include "wire/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A burst of connections must not keep those that are open from being served. */
enum { ACCEPTS_A_TURN = 64, RETRY_AFTER_S = 5 };

/* Descriptors kept back from clients, for what the server itself has to open. */
enum { RESERVE = 4 };

struct door {
    struct loop *loop;
    struct door_owner *owner;
    const struct door_config *config;
    int listening; /* -1 once shut */
    ev_io io;
    int reserve[RESERVE];
    uint64_t visitors;
    struct link securing; /* oldest first: all have the same time to finish */
    struct link reading;  /* likewise; those that were refused among them */
};

enum visitor_state {
    VISITOR_SECURING,
    VISITOR_READING,
    VISITOR_REFUSED /* what still comes is read and forgotten, so that no reset overtakes the answer */
};

struct visitor {
    struct door *door;
    struct link link;
    struct stream stream;
    struct address *address;
    ev_io io;
    struct buf head;
    struct http1_scan scan;
    uint64_t since_ns; /* of SECURING, or of what follows it */
    enum visitor_state state;
};

static void visitor_free(struct visitor *v)
{
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    link_remove(&v->link);
    buf_free(&v->head);
    v->door->visitors--;
    if (v->address != NULL)
        address_leave(v->door->config->addresses, v->address);
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
    v->state = VISITOR_REFUSED;
    stream_shutdown(&v->stream);
}

/* The stream and the place of its address go to the owner. */
static void hand_over(struct visitor *v, struct arrival *arrival)
{
    arrival->stream = v->stream;
    arrival->address = v->address;
    v->stream = (struct stream){.fd = -1};
    v->address = NULL;
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    count_add(COUNT_connections_upgraded, 1);
    if (arrival->deflate.on)
        count_add(COUNT_connections_deflated, 1);
    v->door->owner->enter(v->door->owner, arrival);
}

/* What both ends will speak, and the answer that says so. */
static int agree(struct visitor *v, struct arrival *arrival, struct buf *out)
{
    const struct door_config *config = v->door->config;
    struct slice protocol = {0};
    struct buf extra = {0};
    int err = deflate_accept(arrival->request, &config->deflate, &arrival->deflate);
    if (err == 0)
        err = upgrade_subprotocol(arrival->request, config->subprotocols, &protocol);
    if (err < 0)
        return err;
    deflate_answer(&arrival->deflate, &extra);
    upgrade_accept(arrival->request, protocol, (struct slice){(const char *)extra.at, extra.size}, out);
    buf_free(&extra);
    return 0;
}

static void upgrade(struct visitor *v, const struct http1_head *request, uint8_t *rest, size_t rest_size)
{
    struct arrival arrival = {
        .address = v->address, .request = request, .rest = rest, .rest_size = rest_size};
    struct buf out = {0};
    http1_split_target(request->target, &arrival.path, &arrival.query);
    int err = upgrade_check_request(request);
    if (err == 0)
        err = v->door->owner->admit(v->door->owner, &arrival);
    if (err == 0)
        err = agree(v, &arrival, &out);
    if (err < 0) {
        refuse(v, err);
        return;
    }
    if (answer(v, &out))
        hand_over(v, &arrival);
    buf_free(&out);
    visitor_free(v);
}

static void visitor_got(struct visitor *v, uint8_t *at, size_t size)
{
    struct http1_head request;
    int used = http1_request((const char *)at, size, &v->door->config->head, &v->scan, &request);
    if (used < 0)
        refuse(v, used);
    else if (used > 0)
        upgrade(v, &request, at + used, size - (size_t)used);
    else if (at != v->head.at)
        buf_append(&v->head, at, size);
}

static void visitor_watch(struct visitor *v, int events)
{
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    ev_io_set(&v->io, v->stream.fd, events);
    ev_io_start(loop_ev(v->door->loop), &v->io);
}

/* Whether the handshake is through. */
static bool visitor_secure(struct visitor *v)
{
    switch (stream_handshake(&v->stream)) {
    case IO_DONE: break;
    case IO_AGAIN: visitor_watch(v, stream_wants_write(&v->stream) ? EV_WRITE : EV_READ); return false;
    case IO_CLOSED:
    case IO_FAILED:
        log_line(LOG_INFO, "TLS handshake failed: %s", stream_error(&v->stream));
        count_add(COUNT_tls_failed, 1);
        visitor_free(v);
        return false;
    }
    count_add(stream_resumed(&v->stream) ? COUNT_tls_resumed : COUNT_tls_full, 1);
    v->state = VISITOR_READING;
    v->since_ns = loop_now_ns(v->door->loop);
    list_append(&v->door->reading, &v->link);
    visitor_watch(v, EV_READ);
    return true;
}

static void visitor_read(struct visitor *v)
{
    uint8_t *scratch = loop_scratch(v->door->loop);
    /* What would be kept. */
    size_t most = v->head.size > 0 ? v->door->config->head.bytes : LOOP_SCRATCH_SIZE;
    size_t size = 0;
    switch (stream_read(&v->stream, scratch, least(most, LOOP_SCRATCH_SIZE), &size)) {
    case IO_AGAIN: return;
    case IO_CLOSED:
    case IO_FAILED: visitor_free(v); return;
    case IO_DONE: break;
    }
    if (stream_pending(&v->stream) > 0)
        ev_feed_event(loop_ev(v->door->loop), &v->io, EV_READ);
    if (v->state == VISITOR_REFUSED)
        return;
    if (v->head.size == 0) {
        visitor_got(v, scratch, size);
        return;
    }
    buf_append(&v->head, scratch, size);
    visitor_got(v, v->head.at, v->head.size);
}

static void visitor_ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)events;
    struct visitor *v = io->data;
    if (v->state != VISITOR_SECURING || visitor_secure(v))
        visitor_read(v);
}

static struct visitor *oldest(struct link *list)
{
    return list_empty(list) ? NULL : LIST_OF(list->next, struct visitor, link);
}

/* Who has taken longest is the likeliest not to mean it. */
static void make_room(struct door *d)
{
    struct visitor *a = oldest(&d->securing), *b = oldest(&d->reading);
    struct visitor *older = b == NULL || (a != NULL && a->since_ns < b->since_ns) ? a : b;
    if (older == NULL)
        return;
    count_add(COUNT_handshakes_displaced, 1);
    visitor_free(older);
}

static void visitor_new(struct door *d, int fd, const struct in6_addr *from)
{
    if (d->visitors >= d->config->max_handshakes)
        make_room(d);
    struct visitor *v = mem_zero(sizeof *v);
    v->door = d;
    v->stream.fd = fd;
    v->state = d->config->tls != NULL ? VISITOR_SECURING : VISITOR_READING;
    v->since_ns = loop_now_ns(d->loop);
    v->address = address_enter(d->config->addresses, from);
    d->visitors++;
    link_init(&v->link);
    list_append(d->config->tls != NULL ? &d->securing : &d->reading, &v->link);
    if (d->config->tls != NULL && stream_secure(&v->stream, d->config->tls) < 0) {
        visitor_free(v);
        return;
    }
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
        struct in6_addr from;
        int fd = sock_accept(d->listening, &d->config->sock, &from);
        if (fd >= 0) {
            visitor_new(d, fd, &from);
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
    link_init(&d->securing);
    link_init(&d->reading);
    for (int i = 0; i < RESERVE; i++)
        d->reserve[i] = -1;
    door_reserve(d, true);
    ev_io_init(&d->io, door_ready, listening, EV_READ);
    d->io.data = d;
    ev_io_start(loop_ev(l), &d->io);
    return d;
}

static void expire(struct door *d, struct link *list, uint64_t timeout_ns)
{
    struct visitor *v;
    uint64_t now_ns = loop_now_ns(d->loop);
    while ((v = oldest(list)) != NULL && now_ns - v->since_ns >= timeout_ns) {
        if (v->state != VISITOR_REFUSED)
            count_add(COUNT_connections_timed_out, 1);
        visitor_free(v);
    }
}

void door_tick(struct door *d)
{
    expire(d, &d->securing, d->config->tls_timeout_ns);
    expire(d, &d->reading, d->config->handshake_timeout_ns);
    if (d->listening >= 0)
        ev_io_start(loop_ev(d->loop), &d->io);
}

void door_reserve(struct door *d, bool keep)
{
    for (int i = 0; i < RESERVE; i++) {
        if (keep && d->reserve[i] < 0) {
            d->reserve[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        } else if (!keep && d->reserve[i] >= 0) {
            close(d->reserve[i]);
            d->reserve[i] = -1;
        }
    }
}

void door_shut(struct door *d)
{
    struct link *lists[] = {&d->securing, &d->reading};
    for (int i = 0; i < 2; i++)
        while (!list_empty(lists[i]))
            visitor_free(LIST_OF(lists[i]->next, struct visitor, link));
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
    door_reserve(d, false);
    free(d);
}
