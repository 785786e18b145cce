#include "peer/redis.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/sock.h"
#include "net/stream.h"
#include "peer/redis_subs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_SIZE = 16 * 1024, READS_A_TURN = 16, KEEP_OUT = 64 * 1024, REASON_MAX = 256 };
enum { TICKS_A_PING = 6 };
/* After so many failures the ceiling is reached: where a refused password starts. */
enum { SLOW_FAILURES = 6 };

struct waiting {
    redis_answer *fn;
    void *arg;
    uint64_t since_ns;
};

struct redis {
    struct loop *loop;
    struct turn turn;
    struct stream stream;
    ev_io io;
    ev_timer timer; /* the deadline of a connect, the tick of UP, the wait of DOWN */
    struct redis_options options;
    char *name;
    enum redis_state state;
    bool freed;
    bool ping_waits; /* nothing was heard since the last ping */
    redisReader *reader;
    size_t incoming; /* bytes of a reply that has not come whole */
    struct buf out;
    size_t sent; /* of out */
    struct waiting *ring;
    size_t ring_size, ring_first, ring_count;
    size_t charged; /* of COUNT_redis_pending_bytes */
    struct redis_subs subs;
    struct rng rng;
    unsigned failures; /* in a row */
    bool was_up;       /* ever */
    uint64_t down_since_ns, heard_ns, pinged_ns;
    char reason[REASON_MAX];
};

/* ---- what waits ---- */

size_t redis_pending_bytes(const struct redis *r)
{
    return r->out.size - r->sent + r->ring_count * sizeof(struct waiting);
}

static void recharge(struct redis *r)
{
    size_t now = redis_pending_bytes(r);
    count_sub(COUNT_redis_pending_bytes, r->charged);
    count_add(COUNT_redis_pending_bytes, now);
    r->charged = now;
}

static void push_waiting(struct redis *r, redis_answer *fn, void *arg)
{
    if (r->ring_count == r->ring_size) {
        size_t size = r->ring_size > 0 ? r->ring_size * 2 : 16;
        r->ring = mem_resize(r->ring, size * sizeof *r->ring);
        /* What had wrapped around to the start goes on behind the old end. */
        memcpy(r->ring + r->ring_size, r->ring, r->ring_first * sizeof *r->ring);
        r->ring_size = size;
    }
    size_t at = (r->ring_first + r->ring_count++) & (r->ring_size - 1);
    r->ring[at] = (struct waiting){fn, arg, loop_now_ns(r->loop)};
}

static struct waiting take_waiting(struct redis *r)
{
    struct waiting w = r->ring[r->ring_first];
    r->ring_first = (r->ring_first + 1) & (r->ring_size - 1);
    r->ring_count--;
    return w;
}

/* Those that wait now: what a callback may add is refused. */
static void answer_unknown(struct redis *r)
{
    while (r->ring_count > 0) {
        struct waiting w = take_waiting(r);
        count_add(COUNT_redis_lost, w.arg != r); /* else it is one of our own */
        if (w.fn != NULL)
            w.fn(w.arg, NULL);
    }
    recharge(r);
}

static void append_command(struct redis *r, int argc, const char **argv, const size_t *argvlen)
{
    redis_format(&r->out, argc, argv, argvlen);
    loop_at_turn_end(r->loop, &r->turn);
}

static void put(struct redis *r, redis_answer *fn, int argc, const char **argv)
{
    append_command(r, argc, argv, NULL);
    push_waiting(r, fn, r);
    recharge(r);
}

/* ---- the descriptor ---- */

static void watch(struct redis *r, int events)
{
    if (r->io.events == events && ev_is_active(&r->io))
        return;
    ev_io_stop(loop_ev(r->loop), &r->io);
    ev_io_set(&r->io, r->stream.fd, events);
    ev_io_start(loop_ev(r->loop), &r->io);
}

static void set_timer(struct redis *r, uint64_t after_ns)
{
    ev_timer_stop(loop_ev(r->loop), &r->timer);
    ev_now_update(loop_ev(r->loop));
    ev_timer_set(&r->timer, (double)after_ns / 1e9, 0.);
    ev_timer_start(loop_ev(r->loop), &r->timer);
}

static void close_link(struct redis *r)
{
    ev_io_stop(loop_ev(r->loop), &r->io);
    ev_timer_stop(loop_ev(r->loop), &r->timer);
    stream_close(&r->stream);
    if (r->reader != NULL)
        redisReaderFree(r->reader);
    r->reader = NULL;
    r->incoming = 0;
    buf_free(&r->out);
    r->sent = 0;
    if (r->state == REDIS_UP)
        count_sub(COUNT_redis_links_up, 1);
}

static void say_down(struct redis *r, const char *reason)
{
    char place[REASON_MAX];
    if (strcmp(reason, r->reason) == 0)
        return;
    snprintf(r->reason, sizeof r->reason, "%s", reason);
    log_line(LOG_WARN, "redis %s (%s): down: %s", redis_url_place(&r->options.url, place, sizeof place),
             r->name, reason);
    if (r->options.events.down != NULL)
        r->options.events.down(r->options.owner, r->reason);
}

/* slow: it will not help to try again soon. */
static void link_down(struct redis *r, bool slow, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void link_down(struct redis *r, bool slow, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);

    bool was_up = r->state == REDIS_UP;
    close_link(r);
    r->state = REDIS_DOWN;
    if (was_up)
        r->down_since_ns = loop_now_ns(r->loop);
    double unit = rng_unit(&r->rng);
    set_timer(r, slow ? redis_backoff_ns(SLOW_FAILURES, .5 + unit / 2) : redis_backoff_ns(r->failures, unit));
    r->failures++;
    answer_unknown(r);
    if (!r->freed)
        redis_subs_lose(&r->subs, reason);
    if (!r->freed)
        say_down(r, reason);
}

void redis_hurry(struct redis *r)
{
    if (r->state != REDIS_DOWN)
        return;
    uint64_t soon_ns = redis_backoff_ns(0, rng_unit(&r->rng));
    if (ev_timer_remaining(loop_ev(r->loop), &r->timer) * NS_PER_S > (double)soon_ns)
        set_timer(r, soon_ns);
}

/* ---- the greeting ---- */

static void up_now(struct redis *r)
{
    char place[REASON_MAX];
    uint64_t down_ns = r->was_up ? redis_down_ns(r) : 0;
    count_add(COUNT_redis_reconnects, r->was_up);
    count_add(COUNT_redis_links_up, 1);
    log_line(LOG_INFO, "redis %s (%s): up%s", redis_url_place(&r->options.url, place, sizeof place), r->name,
             r->was_up ? " again" : "");
    r->state = REDIS_UP;
    r->was_up = true;
    r->failures = 0;
    r->reason[0] = '\0';
    r->pinged_ns = r->heard_ns = loop_now_ns(r->loop);
    r->ping_waits = false;
    set_timer(r, r->options.ping_interval_ns / TICKS_A_PING);
    loop_at_turn_end(r->loop, &r->turn);
    if (r->options.events.up != NULL)
        r->options.events.up(r->options.owner, down_ns);
}

static bool begins(const redisReply *reply, const char *word)
{
    size_t size = strlen(word);
    return reply->len >= size && memcmp(reply->str, word, size) == 0;
}

static void on_auth(void *arg, const redisReply *reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        link_down(arg, true, "AUTH: %s", reply->str);
}

static void on_select(void *arg, const redisReply *reply)
{
    const struct redis *r = arg;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        link_down(arg, !begins(reply, "LOADING"), "SELECT %u: %s", r->options.url.db, reply->str);
}

/* The last of the greeting. A user who may not ping is let in nonetheless: refusals are answers as well. */
static void on_greeted(void *arg, const redisReply *reply)
{
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR && !begins(reply, "NOPERM"))
        link_down(arg, !begins(reply, "LOADING") && !begins(reply, "MASTERDOWN"), "%s", reply->str);
    else
        up_now(arg);
}

static void greet(struct redis *r)
{
    const struct redis_url *url = &r->options.url;
    char db[16];
    snprintf(db, sizeof db, "%u", url->db);
    r->state = REDIS_GREETING;
    r->reader = redisReaderCreate();
    if (r->reader == NULL)
        PANIC("no memory for a reader");
    if (*url->password != '\0' && *url->user != '\0')
        put(r, on_auth, 3, (const char *[]){"AUTH", url->user, url->password});
    else if (*url->password != '\0')
        put(r, on_auth, 2, (const char *[]){"AUTH", url->password});
    if (url->db != 0)
        put(r, on_select, 2, (const char *[]){"SELECT", db});
    put(r, NULL, 3, (const char *[]){"CLIENT", "SETNAME", r->name}); /* of use, not needed */
    put(r, on_greeted, 1, (const char *[]){"PING"});
    watch(r, EV_READ);
}

static void secure(struct redis *r)
{
    switch (stream_handshake(&r->stream)) {
    case IO_DONE: greet(r); return;
    case IO_AGAIN: watch(r, stream_wants_write(&r->stream) ? EV_WRITE : EV_READ); return;
    case IO_CLOSED:
    case IO_FAILED: link_down(r, false, "TLS: %s", stream_error(&r->stream)); return;
    }
}

static void connected(struct redis *r)
{
    int error = sock_error(r->stream.fd);
    if (error != 0) {
        link_down(r, false, "connect: %s", strerror(error));
    } else if (!r->options.url.secure) {
        greet(r);
    } else if (r->options.tls == NULL || stream_secure(&r->stream, r->options.tls) < 0) {
        link_down(r, true, "TLS: not set up");
    } else {
        r->state = REDIS_SECURING;
        secure(r);
    }
}

static void connect_now(struct redis *r)
{
    const struct redis_url *url = &r->options.url;
    static const struct sock_options plain;
    r->state = REDIS_CONNECTING;
    int fd =
        *url->path != '\0' ? sock_connect_unix(url->path) : sock_connect(url->host, url->port, NULL, &plain);
    if (fd == ERR_OPTION_VALUE) {
        link_down(r, true, "connect: '%s' is neither an address nor localhost", url->host);
    } else if (fd < 0) {
        link_down(r, false, "connect: %s", strerror(errno));
    } else {
        r->stream = (struct stream){.fd = fd};
        watch(r, EV_WRITE);
        set_timer(r, r->options.connect_timeout_ns);
    }
}

/* ---- what comes in ---- */

static void got(struct redis *r, const redisReply *reply)
{
    if (r->options.subscriber && r->state == REDIS_UP) {
        const char *wrong = redis_subs_hear(&r->subs, reply);
        if (wrong != NULL)
            link_down(r, false, "%s", wrong);
    } else if (r->ring_count == 0) {
        link_down(r, false, "protocol: an answer nobody waits for");
    } else {
        struct waiting w = take_waiting(r);
        if (reply->type == REDIS_REPLY_ERROR)
            count_add(COUNT_redis_errors, 1);
        if (w.fn != NULL)
            w.fn(w.arg, reply);
    }
}

/* Each reply that is whole. A callback may end the link, and its reader. */
static void parse(struct redis *r)
{
    while (r->reader != NULL) {
        void *reply = NULL;
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
            link_down(r, false, "protocol: %s", r->reader->errstr);
            return;
        }
        if (reply == NULL)
            break;
        r->incoming = 0;
        got(r, reply);
        freeReplyObject(reply);
    }
    if (r->incoming > r->options.max_reply_bytes)
        link_down(r, false, "protocol: a reply above the limit");
}

static void receive(struct redis *r)
{
    char bytes[READ_SIZE];
    for (int i = 0; i < READS_A_TURN && r->reader != NULL; i++) {
        size_t size = 0;
        switch (stream_read(&r->stream, bytes, sizeof bytes, &size)) {
        case IO_DONE: break;
        case IO_AGAIN: return;
        case IO_CLOSED: link_down(r, false, "closed by the server"); return;
        case IO_FAILED: link_down(r, false, "read: %s", stream_error(&r->stream)); return;
        }
        r->heard_ns = loop_now_ns(r->loop);
        r->ping_waits = false;
        r->incoming += size;
        if (redisReaderFeed(r->reader, bytes, size) != REDIS_OK)
            PANIC("no memory for a reply");
        parse(r);
    }
    if (r->reader != NULL && stream_pending(&r->stream) > 0)
        ev_feed_event(loop_ev(r->loop), &r->io, EV_READ);
}

/* ---- what goes out ---- */

static void forget_sent(struct redis *r)
{
    if (r->sent < r->out.size / 2)
        return;
    buf_consume(&r->out, r->sent);
    r->sent = 0;
    if (r->out.size == 0 && r->out.capacity > KEEP_OUT)
        buf_free(&r->out);
}

static void flush(struct redis *r)
{
    size_t unsent = r->out.size - r->sent, written = 0;
    if (unsent > 0 || stream_unsent(&r->stream)) {
        struct iovec vector = {unsent > 0 ? r->out.at + r->sent : NULL, unsent};
        enum io io = stream_writev(&r->stream, &vector, unsent > 0, &written);
        if (io == IO_CLOSED || io == IO_FAILED) {
            link_down(r, false, "write: %s", stream_error(&r->stream));
            return;
        }
    }
    r->sent += written;
    forget_sent(r);
    recharge(r);
    watch(r, EV_READ | (r->out.size > 0 || stream_unsent(&r->stream) ? EV_WRITE : 0));
}

/* ---- time ---- */

/* Before silence is held against the server, what has come is read: it may be us who were late. */
static bool overdue(struct redis *r)
{
    uint64_t now_ns = loop_now_ns(r->loop);
    bool silent = r->ping_waits && now_ns - r->heard_ns >= r->options.dead_after_ns;
    bool stuck =
        r->ring_count > 0 && now_ns - r->ring[r->ring_first].since_ns >= r->options.command_timeout_ns;
    return silent || stuck;
}

static void tick(struct redis *r)
{
    uint64_t now_ns = loop_now_ns(r->loop);
    if (overdue(r))
        receive(r);
    if (r->state != REDIS_UP)
        return;
    if (overdue(r)) {
        bool silent = r->ping_waits && now_ns - r->heard_ns >= r->options.dead_after_ns;
        link_down(r, false, silent ? "silent for %.3g s" : "no answer to a command for %.3g s",
                  (double)(silent ? r->options.dead_after_ns : r->options.command_timeout_ns) / 1e9);
        return;
    }
    if (now_ns - r->pinged_ns >= r->options.ping_interval_ns) {
        static const char *ping[] = {"PING"};
        r->pinged_ns = now_ns;
        r->ping_waits = true;
        if (r->options.subscriber)
            append_command(r, 1, ping, NULL);
        else
            put(r, NULL, 1, ping);
    }
    set_timer(r, r->options.ping_interval_ns / TICKS_A_PING);
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)events;
    struct redis *r = LIST_OF(timer, struct redis, timer);
    loop_refresh(r->loop);
    switch (r->state) {
    case REDIS_IDLE: break;
    case REDIS_CONNECTING:
    case REDIS_SECURING:
    case REDIS_GREETING:
        link_down(r, false, "%s took longer than %.3g s", redis_state_name(r->state),
                  (double)r->options.connect_timeout_ns / 1e9);
        break;
    case REDIS_UP: tick(r); break;
    case REDIS_DOWN: connect_now(r); break;
    }
}

static void on_ready(EV_P_ ev_io *io, int events)
{
    (void)loop;
    struct redis *r = LIST_OF(io, struct redis, io);
    switch (r->state) {
    case REDIS_IDLE:
    case REDIS_DOWN: return;
    case REDIS_CONNECTING: connected(r); return;
    case REDIS_SECURING: secure(r); return;
    case REDIS_GREETING:
    case REDIS_UP: break;
    }
    if (events & EV_READ)
        receive(r);
    loop_at_turn_end(r->loop, &r->turn);
}

static void destroy(struct redis *r)
{
    turn_cancel(&r->turn);
    redis_subs_free(&r->subs);
    free(r->ring);
    free(r->name);
    free(r);
}

static void turn_end(struct turn *t)
{
    struct redis *r = LIST_OF(t, struct redis, turn);
    if (r->freed) {
        destroy(r);
        return;
    }
    if (r->state == REDIS_IDLE)
        connect_now(r);
    if (r->state == REDIS_UP && r->options.subscriber)
        redis_subs_ask_some(&r->subs, &r->out);
    redis_subs_empty_trash(&r->subs);
    if (r->state == REDIS_GREETING || r->state == REDIS_UP)
        flush(r);
}

/* ---- for others ---- */

struct redis *redis_new(struct loop *loop, const struct redis_options *options)
{
    struct redis *r = mem_zero(sizeof *r);
    r->loop = loop;
    r->options = redis_options_complete(*options);
    r->name = mem_text(r->options.name);
    r->options.name = r->name;
    r->stream.fd = -1;
    r->down_since_ns = loop_now_ns(loop);
    redis_subs_init(&r->subs, &r->options.events, r->options.owner);
    rng_seed(&r->rng, clock_now_ns() ^ (uintptr_t)r);
    ev_init(&r->io, on_ready);
    ev_init(&r->timer, on_timer);
    turn_init(&r->turn, turn_end);
    loop_at_turn_end(loop, &r->turn);
    return r;
}

void redis_free(struct redis *r)
{
    if (r == NULL || r->freed)
        return;
    close_link(r);
    r->freed = r->subs.closed = true;
    r->state = REDIS_DOWN;
    answer_unknown(r);
    loop_at_turn_end(r->loop, &r->turn);
}

enum redis_state redis_state(const struct redis *r)
{
    return r->state;
}

uint64_t redis_down_ns(const struct redis *r)
{
    return r->state == REDIS_UP ? 0 : loop_now_ns(r->loop) - r->down_since_ns;
}

const char *redis_down_reason(const struct redis *r)
{
    return r->reason;
}

static int admit(const struct redis *r, size_t size)
{
    int err = 0;
    if (r->options.subscriber)
        PANIC("a command for a subscriber link");
    if (r->state != REDIS_UP)
        err = ERR_CLOSED;
    else if (redis_pending_bytes(r) + size + sizeof(struct waiting) > r->options.max_pending_bytes)
        err = ERR_BUDGET;
    count_add(err < 0 ? COUNT_redis_refused : COUNT_redis_commands, 1);
    return err;
}

int redis_command(struct redis *r, redis_answer *fn, void *arg, int argc, const char **argv,
                  const size_t *argvlen)
{
    size_t size = 16;
    for (int i = 0; i < argc; i++)
        size += 16 + (argvlen != NULL ? argvlen[i] : strlen(argv[i]));
    int err = admit(r, size);
    if (err < 0)
        return err;
    append_command(r, argc, argv, argvlen);
    push_waiting(r, fn, arg);
    recharge(r);
    return 0;
}

int redis_command_text(struct redis *r, redis_answer *fn, void *arg, const char *text, size_t size)
{
    int err = admit(r, size);
    if (err < 0)
        return err;
    buf_append(&r->out, text, size);
    push_waiting(r, fn, arg);
    recharge(r);
    loop_at_turn_end(r->loop, &r->turn);
    return 0;
}

void redis_subscribe(struct redis *r, struct slice channel, bool sharded)
{
    if (!r->options.subscriber)
        PANIC("a subscription for a command link");
    redis_subs_want(&r->subs, channel, sharded);
    loop_at_turn_end(r->loop, &r->turn);
}

void redis_unsubscribe(struct redis *r, struct slice channel, bool sharded)
{
    redis_subs_unwant(&r->subs, channel, sharded);
    loop_at_turn_end(r->loop, &r->turn);
}
