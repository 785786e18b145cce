#include "peer/door.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/alarm.h"
#include "net/tls.h"
#include "wire/upgrade.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

enum { RETRY_AFTER_S = 5 };

/* Descriptors kept back from clients, for what the server itself has to open. */
enum { RESERVE = 4 };

/* A crowd is through when so many have come in and no more than these are still on the way. */
enum { CROWD = 1024, STRAGGLERS = 8 };

struct door {
    struct loop *loop;
    struct door_owner *owner;
    const struct door_config *config;
    struct gate_owner gate_owner;
    struct gate gate;
    struct lookup lookup;
    struct alarm due; /* when the next look-up is done */
    struct rng rng;
    int reserve[RESERVE];
    int shut; /* the ERR_ that everybody is refused with, 0 while open */
    uint64_t visitors, refused;
    uint64_t entered;     /* since memory was given back */
    struct link securing; /* oldest first: all have the same time to finish */
    struct link reading;  /* likewise; those that were refused among them */
};

enum visitor_state {
    VISITOR_SECURING,
    VISITOR_READING,
    VISITOR_VERIFYING, /* in the look-up; not watched */
    VISITOR_REFUSED    /* what still comes is read and forgotten, so that no reset overtakes the answer */
};

struct visitor {
    struct door *door;
    struct link link; /* in none while VERIFYING */
    struct lookup_job job;
    struct stream stream;
    struct address *address;
    ev_io io;
    struct buf head; /* of READING what has come, of VERIFYING the whole and what came behind it */
    struct http1_scan scan;
    uint64_t since_ns; /* of SECURING, or of what follows it */
    enum visitor_state state;
};

static void visitor_free(struct visitor *v)
{
    struct door *d = v->door;
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    link_remove(&v->link);
    buf_free(&v->head);
    d->visitors--;
    d->refused -= v->state == VISITOR_REFUSED;
    count_sub(COUNT_handshakes_in_flight, 1);
    if (v->address != NULL)
        address_leave(v->door->config->addresses, v->address);
    if (v->stream.fd >= 0)
        stream_close(&v->stream);
    free(v);
    gate_check(&d->gate);
}

/* Its client has left before it was answered. */
static void visitor_left(struct visitor *v)
{
    if (v->state != VISITOR_REFUSED)
        count_add(COUNT_connections_abandoned, 1);
    visitor_free(v);
}

static void visitor_watch(struct visitor *v, int events)
{
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    ev_io_modify(&v->io, events);
    ev_io_start(loop_ev(v->door->loop), &v->io);
}

/* An answer to a fresh socket always fits into its send buffer; if it does not, the peer is not worth more.
 */
static bool answer(struct visitor *v, const struct buf *out)
{
    struct iovec whole = {out->at, out->size};
    size_t written = 0;
    return stream_writev(&v->stream, &whole, 1, &written) == IO_DONE && written == out->size;
}

/* Each another moment of the window, so that they do not come back as they left: all at once. */
static unsigned retry_after_s(struct door *d)
{
    uint64_t window_s = d->config->reconnect_window_ns / NS_PER_S;
    if (d->config->reconnect_window_ns == 0)
        return RETRY_AFTER_S;
    return 1 + (unsigned)(window_s > 1 ? rng_next(&d->rng) % window_s : 0);
}

static void refuse(struct visitor *v, int err)
{
    struct door *d = v->door;
    struct buf out = {0};
    upgrade_refuse(err, retry_after_s(d), &out);
    bool sent = answer(v, &out);
    buf_free(&out);
    buf_free(&v->head);
    count_add(COUNT_connections_refused, 1);
    v->state = VISITOR_REFUSED;
    d->refused++;
    if (!sent) {
        visitor_free(v);
        return;
    }
    v->since_ns = loop_now_ns(d->loop);
    list_append(&d->reading, &v->link);
    if (!ev_is_active(&v->io))
        visitor_watch(v, EV_READ);
    stream_shutdown(&v->stream);
    gate_check(&d->gate);
}

/* The stream and the place of its address go to the owner. */
static void hand_over(struct visitor *v, struct arrival *arrival)
{
    arrival->stream = v->stream;
    arrival->address = v->address;
    v->stream = (struct stream){.fd = -1};
    v->address = NULL;
    ev_io_stop(loop_ev(v->door->loop), &v->io);
    v->door->entered++;
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

/* 0, or the ERR_ to refuse it with. */
static int check(struct visitor *v, const struct arrival *arrival)
{
    struct door *d = v->door;
    if (d->shut < 0)
        return d->shut;
    int err = upgrade_check_request(arrival->request);
    return err < 0 ? err : d->owner->admit(d->owner, arrival);
}

static void let_in(struct visitor *v, struct arrival *arrival)
{
    struct buf out = {0};
    int err = agree(v, arrival, &out);
    if (err < 0) {
        refuse(v, err);
        return;
    }
    if (answer(v, &out))
        hand_over(v, arrival);
    buf_free(&out);
    visitor_free(v);
}

static void run_lookups(struct door *d)
{
    lookup_run(&d->lookup, &d->config->lookup, loop_now_ns(d->loop));
    uint64_t next_ns = lookup_next_ns(&d->lookup);
    if (next_ns > 0)
        alarm_at(&d->due, next_ns);
}

static bool queue_full(const struct door *d)
{
    const struct door_config *config = d->config;
    return d->lookup.busy_count >= config->lookup.slots && d->lookup.waiting_count >= config->lookup_queue;
}

/* What came of it begins at `at`. Under DOOR_WAIT the gate has seen to it that there is room, if only just.
 */
static void verify(struct visitor *v, struct arrival *arrival, const uint8_t *at, size_t size)
{
    struct door *d = v->door;
    enum door_overflow overflow = queue_full(d) ? d->config->lookup_overflow : DOOR_WAIT;
    if (overflow == DOOR_REFUSE) {
        refuse(v, ERR_OVERLOAD);
        return;
    }
    if (overflow == DOOR_CLOSE) {
        arrival->turned_away = ERR_OVERLOAD;
        count_add(COUNT_connections_turned_away, 1);
        let_in(v, arrival);
        return;
    }
    if (at != v->head.at)
        buf_append(&v->head, at, size);
    v->state = VISITOR_VERIFYING;
    link_remove(&v->link);
    ev_io_stop(loop_ev(d->loop), &v->io);
    lookup_add(&d->lookup, &v->job);
    run_lookups(d);
}

static struct arrival arrival_of(const struct visitor *v, const struct http1_head *request, uint8_t *rest,
                                 size_t rest_size)
{
    struct arrival arrival = {
        .address = v->address, .request = request, .rest = rest, .rest_size = rest_size};
    http1_split_target(request->target, &arrival.path, &arrival.query);
    return arrival;
}

static bool lookup_begins(struct lookup *l, struct lookup_job *job)
{
    struct door *d = LIST_OF(l, struct door, lookup);
    struct visitor *v = LIST_OF(job, struct visitor, job);
    if (!d->config->skip_abandoned || sock_established(v->stream.fd))
        return true;
    count_add(COUNT_auth_skipped, 1);
    visitor_left(v);
    return false;
}

/* Much may have changed since it asked. The head is read once more: to keep it parsed takes 4 KiB. */
static void lookup_done(struct lookup *l, struct lookup_job *job)
{
    (void)l;
    struct visitor *v = LIST_OF(job, struct visitor, job);
    struct http1_head request;
    if (!sock_established(v->stream.fd)) {
        count_add(COUNT_auth_wasted, 1);
        visitor_left(v);
        return;
    }
    int used = http1_request((const char *)v->head.at, v->head.size, &v->door->config->head, NULL, &request);
    if (used <= 0) {
        refuse(v, used < 0 ? used : ERR_HTTP_SYNTAX);
        return;
    }
    struct arrival arrival = arrival_of(v, &request, v->head.at + used, v->head.size - (size_t)used);
    int err = check(v, &arrival);
    if (err < 0)
        refuse(v, err);
    else
        let_in(v, &arrival);
}

static void visitor_asks(struct visitor *v, const struct http1_head *request, uint8_t *at, size_t used,
                         size_t size)
{
    struct arrival arrival = arrival_of(v, request, at + used, size - used);
    int err = check(v, &arrival);
    if (err < 0)
        refuse(v, err);
    else if (v->door->config->lookup.time_ns > 0)
        verify(v, &arrival, at, size);
    else
        let_in(v, &arrival);
}

static void visitor_got(struct visitor *v, uint8_t *at, size_t size)
{
    struct http1_head request;
    int used = http1_request((const char *)at, size, &v->door->config->head, &v->scan, &request);
    if (used < 0)
        refuse(v, used);
    else if (used > 0)
        visitor_asks(v, &request, at, (size_t)used, size);
    else if (at != v->head.at)
        buf_append(&v->head, at, size);
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
        if (sock_established(v->stream.fd))
            visitor_free(v);
        else
            visitor_left(v);
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
    case IO_FAILED: visitor_left(v); return;
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
    uint64_t verifying = d->lookup.waiting_count + d->lookup.busy_count;
    if (d->visitors - verifying >= d->config->max_handshakes && d->shut == 0)
        make_room(d);
    struct visitor *v = mem_zero(sizeof *v);
    v->door = d;
    v->stream.fd = fd;
    v->state = d->config->tls != NULL ? VISITOR_SECURING : VISITOR_READING;
    v->since_ns = loop_now_ns(d->loop);
    v->address = address_enter(d->config->addresses, from);
    d->visitors++;
    count_add(COUNT_handshakes_in_flight, 1);
    link_init(&v->link);
    list_append(d->config->tls != NULL ? &d->securing : &d->reading, &v->link);
    if (d->config->tls != NULL && stream_secure(&v->stream, d->config->tls) < 0) {
        visitor_free(v);
        return;
    }
    ev_io_init(&v->io, visitor_ready, fd, EV_READ);
    v->io.data = v;
    ev_io_start(loop_ev(d->loop), &v->io);
}

static void on_accepted(struct gate_owner *owner, int fd, const struct in6_addr *from)
{
    visitor_new(LIST_OF(owner, struct door, gate_owner), fd, from);
}

/* Everybody on the way in may come to want a look-up. */
static bool is_full(struct gate_owner *owner)
{
    const struct door *d = LIST_OF(owner, struct door, gate_owner);
    const struct door_config *config = d->config;
    return config->lookup.time_ns > 0 && config->lookup_overflow == DOOR_WAIT &&
           d->visitors - d->refused >= config->lookup_queue + config->lookup.slots;
}

static void on_due(struct alarm *alarm)
{
    run_lookups(LIST_OF(alarm, struct door, due));
}

struct door *door_new(struct loop *l, int listening, struct door_owner *owner,
                      const struct door_config *config)
{
    struct door *d = mem_zero(sizeof *d);
    *d = (struct door){.loop = l, .owner = owner, .config = config};
    if (alarm_init(&d->due, l, on_due) < 0) {
        free(d);
        return NULL;
    }
    link_init(&d->securing);
    link_init(&d->reading);
    lookup_init(&d->lookup, lookup_begins, lookup_done);
    rng_seed(&d->rng, clock_now_ns());
    for (int i = 0; i < RESERVE; i++)
        d->reserve[i] = -1;
    door_reserve(d, true);
    d->gate_owner = (struct gate_owner){on_accepted, is_full};
    gate_open(&d->gate, l, listening, &d->gate_owner, &config->gate);
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

/* What visitors took lies in holes of the heap, between what stays. */
static void give_back(struct door *d)
{
    if (d->entered < CROWD || d->visitors > STRAGGLERS)
        return;
    d->entered = 0;
    malloc_trim(0);
}

void door_tick(struct door *d)
{
    expire(d, &d->securing, d->config->tls_timeout_ns);
    expire(d, &d->reading, d->config->handshake_timeout_ns);
    run_lookups(d);
    gate_check(&d->gate);
    gate_sample(&d->gate);
    give_back(d);
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

void door_shut(struct door *d, int err)
{
    struct lookup_job *job;
    d->shut = err;
    gate_close(&d->gate);
    while ((job = lookup_take(&d->lookup)) != NULL)
        refuse(LIST_OF(job, struct visitor, job), err);
}

bool door_calm(const struct door *d)
{
    return d->visitors == 0 && gate_is_open(&d->gate);
}

bool door_empty(const struct door *d)
{
    return d->visitors == 0;
}

void door_free(struct door *d)
{
    if (d == NULL)
        return;
    door_shut(d, ERR_STOP);
    struct link *lists[] = {&d->securing, &d->reading};
    for (int i = 0; i < 2; i++)
        while (!list_empty(lists[i]))
            visitor_free(LIST_OF(lists[i]->next, struct visitor, link));
    alarm_release(&d->due);
    door_reserve(d, false);
    free(d);
}
