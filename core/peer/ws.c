#include "peer/ws.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/meter.h"
#include "base/pool.h"
#include "base/tick.h"
#include "net/joined.h"
#include "net/sock.h"

#include <stdio.h>
#include <stdlib.h>

enum ws_state { WS_OPEN, WS_CLOSING, WS_DEAD };

/* What is made of the bytes that come in: IGNORED after a breach of the protocol, which leaves no frames to
 * tell. */
enum ws_input { INPUT_READ, INPUT_CLOSED, INPUT_IGNORED };

/* The gauges show what is queued after a turn. A turn that piles up this much more is shown at once: the
 * process may not live to see its end. */
enum { UNSHOWN_MAX_BYTES = 16 * 1024 * 1024 };

/* Every byte counts ten thousand times: what a connection can do without is elsewhere. From a pool. */
struct ws {
    struct conn conn;
    uint8_t state; /* enum ws_state */
    uint8_t input; /* enum ws_input */
    bool may_publish : 1;
    bool evicted : 1; /* closing because of the mark or the budget */
    bool reset : 1;   /* to be closed with a reset */
    bool slow : 1;
    bool pinged : 1;        /* a ping is out since it was last heard */
    uint32_t heard;         /* tick when anything was last received */
    struct ws_extra *extra; /* NULL without a need */
    struct member member;   /* a delivery looks at nothing behind it */
    struct link link;       /* in shared->open or shared->closing */
    struct address *address;
    union {
        uint32_t spoke;   /* OPEN: tick when a message was last received */
        uint32_t closing; /* later: tick when CLOSING began */
    };
    uint32_t out_queue, kernel; /* of struct sock_memory, as last sampled */
};
_Static_assert(sizeof(struct ws) <= 160, "with its place in the loop and in the topic, 200 bytes");

/* Of a client whose rate is limited, or that has named a key of its own. */
struct ws_extra {
    uint64_t key; /* 0: that of the topic */
    void *held;   /* see ws_hold */
    struct meter messages, bytes;
};

static struct pool pool = POOL_OF(pool, struct ws);

static struct ws *from_conn(struct conn *c)
{
    return LIST_OF(c, struct ws, conn);
}

static struct ws_shared *shared_of(const struct ws *w)
{
    return LIST_OF(w->conn.io.data, struct ws_shared, owner);
}

static struct loop *loop_of(const struct ws *w)
{
    return shared_of(w)->owner.loop;
}

static struct ws_extra *extra_of(struct ws *w)
{
    if (w->extra == NULL)
        w->extra = mem_zero(sizeof *w->extra);
    return w->extra;
}

static void flush_later(struct ws *w)
{
    conn_at_turn_end(&w->conn);
}

static void show_queues(const struct ws_shared *shared)
{
    count_set(COUNT_queue_bytes, shared->ledger.total);
    count_set(COUNT_blob_bytes, blob_bytes_alive());
}

/* Asked for during a turn's flushes, so it runs when all of them are through. */
static void on_settled(struct turn *t)
{
    joined_forget();
    show_queues(LIST_OF(t, struct ws_shared, settled));
}

/* After some bytes have left, or where nothing but the sum is to be put right. */
static void account_less(struct ws *w)
{
    struct conn_work *work = w->conn.work;
    if (work != NULL)
        ledger_update(&shared_of(w)->ledger, &work->queued, work->out.bytes);
}

static void account(struct ws *w)
{
    const struct ledger *ledger = &shared_of(w)->ledger;
    account_less(w);
    count_peak(COUNT_queue_bytes_peak, ledger->total);
    if (ledger->total > count_get(COUNT_queue_bytes) + UNSHOWN_MAX_BYTES)
        show_queues(shared_of(w));
}

static void set_kernel(struct ws *w, struct sock_memory now)
{
    uint32_t out_queue = (uint32_t)least(now.out_queue, UINT32_MAX);
    uint32_t kernel = (uint32_t)least(now.kernel, UINT32_MAX);
    count_add(COUNT_kernel_queue_bytes, (uint64_t)out_queue - w->out_queue);
    count_add(COUNT_kernel_socket_bytes, (uint64_t)kernel - w->kernel);
    w->out_queue = out_queue;
    w->kernel = kernel;
}

static void set_slow(struct ws *w, bool slow)
{
    if (slow == w->slow)
        return;
    w->slow = slow;
    if (slow)
        count_add(COUNT_slow_clients, 1);
    else
        count_sub(COUNT_slow_clients, 1);
    count_peak(COUNT_slow_clients_peak, count_get(COUNT_slow_clients));
}

static void leave_open(struct ws *w)
{
    if (w->state != WS_OPEN)
        return;
    void *held = ws_held(w);
    hub_leave(shared_of(w)->hub, &w->member);
    set_slow(w, false);
    shared_of(w)->open_count--;
    count_sub(COUNT_connections_open, 1);
    if (held != NULL) {
        ws_hold(w, NULL);
        shared_of(w)->left(shared_of(w), held);
    }
}

/* What has not begun to leave will not be delivered. */
static void abandon(struct ws *w)
{
    if (conn_queued(&w->conn) > 0)
        count_add(COUNT_deliveries_abandoned, sendq_drop_unstarted(conn_out(&w->conn)));
}

/* Its memory is given back at once, the object itself at the end of the turn. */
static void die(struct ws *w, bool reset)
{
    if (w->state == WS_DEAD)
        return;
    if (w->state == WS_OPEN)
        abandon(w);
    leave_open(w);
    link_remove(&w->link);
    w->state = WS_DEAD;
    w->reset = reset;
    sendq_free(conn_out(&w->conn));
    account(w);
    flush_later(w);
}

static void begin_closing(struct ws *w, int code, const char *reason)
{
    leave_open(w);
    w->state = WS_CLOSING;
    uint64_t now_ns = loop_now_ns(loop_of(w));
    w->closing = tick_of(now_ns);
    list_append(&shared_of(w)->closing, &w->link);
    count_close_sent(code);
    sendq_push(conn_out(&w->conn), message_close_frame(code, reason, NULL, now_ns));
    account(w);
    flush_later(w);
}

static void log_peer(const struct ws *w, enum log_level level, const char *what, int err)
{
    char name[SOCK_NAME_MAX];
    sock_peer_name(w->conn.stream.fd, name);
    log_line(level, "%s %s: %s, %llu bytes queued", what, name, err_text(err),
             (unsigned long long)conn_queued(&w->conn));
}

/* The reason is what a client can do about it, where there is something, else the error's text. */
static void close_for(struct ws *w, int err)
{
    char reason[FRAME_CONTROL_MAX];
    int code = err_close_code(err);
    uint64_t window_ms = shared_of(w)->reconnect_window_ns / NS_PER_MS;
    bool later = code == 1012 || code == 1013;
    snprintf(reason, sizeof reason, "{\"wsb\":\"reconnect\",\"window_ms\":%llu}",
             (unsigned long long)window_ms);
    begin_closing(w, code, later && window_ms > 0 ? reason : err_text(err));
}

static void evict(struct ws *w, int err)
{
    log_peer(w, LOG_WARN, "evict", err);
    count_add(err == ERR_BUDGET ? COUNT_evictions_budget : COUNT_evictions_mark, 1);
    w->evicted = true;
    abandon(w);
    close_for(w, err);
}

void ws_close(struct ws *w, int err)
{
    if (w->state == WS_OPEN)
        close_for(w, err);
}

static void reset(struct ws *w, int err)
{
    log_peer(w, LOG_INFO, "reset", err);
    count_add(COUNT_closes_reset, 1);
    die(w, true);
}

/* Of all connections, for the first time. */
static void rank(struct ws_shared *shared)
{
    struct link *lists[] = {&shared->open, &shared->closing};
    ledger_rank(&shared->ledger);
    for (int i = 0; i < 2; i++)
        for (struct link *at = lists[i]->next; at != lists[i]; at = at->next)
            account_less(LIST_OF(at, struct ws, link));
}

/* A connection that is closing already has had its chance: if even its last frame is too much, it is reset.
 */
static void keep_budget(struct ws_shared *shared)
{
    if (shared->budget > 0 && !shared->ledger.ranked)
        rank(shared);
    while (shared->budget > 0 && shared->ledger.total > shared->budget) {
        const struct conn_work *most = LIST_OF(ledger_largest(&shared->ledger), struct conn_work, queued);
        struct ws *largest = from_conn(most->turn.owner);
        if (largest->state == WS_OPEN)
            evict(largest, ERR_BUDGET);
        else
            reset(largest, ERR_BUDGET);
    }
}

/* Whether the message is to be queued. */
static bool admit(struct ws *w, const struct cast *cast, uint64_t size)
{
    const struct ws_shared *shared = shared_of(w);
    switch (overflow_admit(&shared->overflow, conn_out(&w->conn), cast, size, conn_deflater(&w->conn) != NULL,
                           loop_now_ns(loop_of(w)))) {
    case OVERFLOW_ADMIT: return true;
    case OVERFLOW_DROP: break;
    case OVERFLOW_EVICT: evict(w, ERR_MARK); break;
    }
    return false;
}

static void deliver(struct member *m, struct cast *cast)
{
    struct ws *w = LIST_OF(m, struct ws, member);
    if (w->state != WS_OPEN || (ws_held(w) != NULL && !shared_of(w)->wants(shared_of(w), w, cast)))
        return;
    struct blob *frame = conn_frame(&w->conn, cast, shared_of(w)->deflate_min, shared_of(w)->copy);
    if (admit(w, cast, frame->size)) {
        sendq_push(conn_out(&w->conn), frame);
        count_add(COUNT_deliveries_queued, 1);
    } else {
        blob_unref(frame);
    }
    account(w);
    keep_budget(shared_of(w));
    flush_later(w);
}

static void peer_closes(struct ws *w, const struct message *message)
{
    bool had_ours = w->state == WS_CLOSING && conn_drained(&w->conn);
    count_close_seen(message->close_code);
    w->input = INPUT_CLOSED;
    if (w->evicted && had_ours)
        count_add(COUNT_evictions_confirmed, 1);
    if (w->state == WS_OPEN) {
        abandon(w);
        begin_closing(w, message->close_code == 1005 ? 1000 : message->close_code, "");
    }
    flush_later(w);
}

static void push_urgent(struct ws *w, enum frame_opcode opcode, const void *payload, size_t size)
{
    conn_push_urgent(&w->conn, message_frame(opcode, payload, size, NULL, loop_now_ns(loop_of(w))));
    account(w);
    flush_later(w);
}

/* 0, or why the client's message is not published. */
static int check_message(struct ws *w)
{
    uint64_t now_ns = loop_now_ns(loop_of(w));
    double rate = shared_of(w)->message_rate;
    w->spoke = tick_of(now_ns);
    if (!w->may_publish)
        return ERR_PUBLISH;
    return rate <= 0 || meter_take(&extra_of(w)->messages, rate, 1, now_ns) ? 0 : ERR_RATE;
}

static void break_off(struct ws *w, int err)
{
    log_peer(w, LOG_INFO, "close", err);
    count_add(err == ERR_TIMEOUT ? COUNT_clients_timed_out : COUNT_clients_over_limit, 1);
    w->input = INPUT_IGNORED;
    abandon(w);
    ws_close(w, err);
}

static void take_message(struct ws *w, const struct message *message)
{
    int err = check_message(w);
    if (err < 0) {
        break_off(w, err);
        return;
    }
    count_add(COUNT_messages_in, 1);
    shared_of(w)->message(shared_of(w), w, message);
}

static bool got(struct conn *c, const struct message *message)
{
    struct ws *w = from_conn(c);
    switch (message->kind) {
    case MESSAGE_NONE:
    case MESSAGE_PONG: break;
    case MESSAGE_PING:
        if (w->state == WS_OPEN)
            push_urgent(w, FRAME_PONG, message->at, message->size);
        break;
    case MESSAGE_CLOSE: peer_closes(w, message); break;
    case MESSAGE_TEXT:
    case MESSAGE_BINARY:
        if (w->state == WS_OPEN)
            take_message(w, message);
        break;
    }
    return w->state != WS_DEAD && w->input != INPUT_IGNORED;
}

/* Without the peer's Close there is nobody who would still take what is queued: the kernel is to forget it.
 */
static void stream_ended(struct ws *w)
{
    if (w->input != INPUT_CLOSED)
        count_close_seen(1006);
    die(w, w->input != INPUT_CLOSED);
}

static void check_bytes(struct ws *w, size_t bytes)
{
    double rate = shared_of(w)->byte_rate;
    if (w->state == WS_OPEN && rate > 0 &&
        !meter_take(&extra_of(w)->bytes, rate, (double)bytes, loop_now_ns(loop_of(w))))
        break_off(w, ERR_RATE);
}

/* `held`: what conn_incoming_bytes was before. */
static void settle_receive(struct ws *w, size_t held, long result)
{
    count_add(COUNT_incoming_bytes, conn_incoming_bytes(&w->conn) - held);
    w->heard = tick_of(loop_now_ns(loop_of(w)));
    w->pinged = false;
    if (result >= 0) {
        check_bytes(w, (size_t)result);
        return;
    }
    if (result == ERR_CLOSED) {
        stream_ended(w);
        return;
    }
    log_peer(w, LOG_INFO, "close", (int)result);
    count_add(COUNT_protocol_errors, 1);
    w->input = INPUT_IGNORED;
    if (w->state == WS_OPEN)
        abandon(w);
    ws_close(w, (int)result);
}

static void ready(EV_P_ ev_io *io, int events)
{
    (void)loop;
    struct ws *w = from_conn(LIST_OF(io, struct conn, io));
    if (w->state == WS_DEAD)
        return;
    size_t held = conn_incoming_bytes(&w->conn);
    if (events & EV_READ)
        settle_receive(w, held,
                       w->input == INPUT_IGNORED
                           ? conn_discard(&w->conn)
                           : conn_receive(&w->conn, &shared_of(w)->limits, LOOP_SCRATCH_SIZE, got));
    if (events & EV_WRITE)
        flush_later(w);
}

static void flush(struct ws *w)
{
    uint32_t frames;
    size_t bytes;
    if (!conn_flush(&w->conn, &frames, &bytes)) {
        stream_ended(w);
        return;
    }
    if (bytes > 0) {
        count_add(COUNT_writes, 1);
        count_add(COUNT_bytes_written, bytes);
        count_add(COUNT_frames_written, frames);
        account_less(w);
    }
    if (w->state == WS_CLOSING && conn_drained(&w->conn)) {
        if (w->evicted && frames > 0)
            count_add(COUNT_evictions_flushed, 1);
        if (w->input == INPUT_CLOSED)
            die(w, false);
        else if (w->input == INPUT_IGNORED)
            stream_shutdown(&w->conn.stream);
    }
}

static void turn_end(struct conn *c)
{
    struct ws *w = from_conn(c);
    loop_at_turn_end(loop_of(w), &shared_of(w)->settled);
    if (w->state != WS_DEAD)
        flush(w);
    if (w->state != WS_DEAD)
        return;
    set_kernel(w, (struct sock_memory){0});
    count_sub(COUNT_incoming_bytes, conn_incoming_bytes(c));
    if (w->address != NULL)
        address_leave(shared_of(w)->addresses, w->address);
    if (!w->reset) /* its last bytes may be in the kernel still, but not for ever */
        sock_give_up_after(w->conn.stream.fd, shared_of(w)->evict_grace_ns);
    conn_close(c, w->reset);
    free(w->extra);
    pool_put(&pool, w);
}

void ws_shared_init(struct ws_shared *shared, struct loop *loop, struct hub *hub)
{
    *shared = (struct ws_shared){.owner = {loop, turn_end}, .hub = hub};
    ledger_init(&shared->ledger);
    turn_init(&shared->settled, on_settled);
    link_init(&shared->open);
    link_init(&shared->closing);
}

struct ws *ws_open(struct ws_shared *shared, const struct ws_start *start)
{
    struct ws *w = pool_take(&pool);
    *w = (struct ws){.address = start->address, .may_publish = start->may_publish};
    w->heard = w->spoke = tick_of(loop_now_ns(shared->owner.loop));
    w->member.deliver = deliver;
    link_init(&w->link);
    conn_open(&w->conn, &shared->owner, start->stream, true, ready);
    conn_compress(&w->conn, &start->deflate);
    list_append(&shared->open, &w->link);
    if (start->held != NULL)
        ws_hold(w, start->held);
    else
        hub_join(shared->hub, start->topic, &w->member);
    if (start->held != NULL || start->key != topic_key(w->member.topic))
        extra_of(w)->key = start->key;
    shared->open_count++;
    count_add(COUNT_connections_open, 1);
    if (start->turned_away < 0)
        ws_close(w, start->turned_away);
    if (start->rest_size > 0)
        settle_receive(w, 0, conn_take(&w->conn, start->rest, start->rest_size, &shared->limits, got));
    return w;
}

void ws_hold(struct ws *w, void *held)
{
    extra_of(w)->held = held;
}

void *ws_held(const struct ws *w)
{
    return w->extra != NULL ? w->extra->held : NULL;
}

void ws_join(struct ws *w, struct slice topic)
{
    if (w->state == WS_OPEN)
        hub_join(shared_of(w)->hub, topic, &w->member);
}

void ws_send(struct ws *w, struct cast *cast)
{
    deliver(&w->member, cast);
}

bool ws_has_room(const struct ws *w, double part, size_t size)
{
    double mark = (double)shared_of(w)->overflow.policy.mark, queued = (double)conn_queued(&w->conn);
    return mark == 0 || queued == 0 || queued + (double)size < mark * part;
}

struct member *ws_member(struct ws *w)
{
    return &w->member;
}

uint64_t ws_key(const struct ws *w)
{
    return w->extra != NULL && w->extra->key != 0 ? w->extra->key : topic_key(w->member.topic);
}

static void keep_alive(struct ws *w, uint64_t now_ns)
{
    const struct ws_shared *shared = shared_of(w);
    uint64_t silent_ns = tick_age_ns(w->heard, now_ns);
    if (shared->ping_interval_ns == 0 || silent_ns < shared->ping_interval_ns)
        return;
    if (!w->pinged) {
        w->pinged = true;
        push_urgent(w, FRAME_PING, "", 0);
    } else if (silent_ns >= shared->ping_interval_ns + shared->ping_timeout_ns) {
        log_peer(w, LOG_INFO, "close", ERR_TIMEOUT);
        count_add(COUNT_ping_timeouts, 1);
        abandon(w);
        ws_close(w, ERR_TIMEOUT);
    }
}

/* Clients that take too long over a message, or say nothing for too long. */
static void keep_deadlines(struct ws *w, uint64_t now_ns)
{
    uint64_t since_ns = conn_incoming_since_ns(&w->conn);
    uint64_t idle_ns = shared_of(w)->idle_timeout_ns;
    bool late = since_ns > 0 && now_ns - since_ns >= shared_of(w)->message_timeout_ns;
    if (w->state == WS_OPEN && (late || (idle_ns > 0 && tick_age_ns(w->spoke, now_ns) >= idle_ns)))
        break_off(w, ERR_TIMEOUT);
}

void ws_sample(struct ws_shared *shared, unsigned most)
{
    uint64_t now_ns = loop_now_ns(shared->owner.loop);
    uint64_t count = shared->open_count < most ? shared->open_count : most;
    conn_trim(now_ns);
    pool_trim(&pool, now_ns);
    for (uint64_t i = 0; i < count && !list_empty(&shared->open); i++) {
        struct ws *w = ws_first_open(shared);
        struct sock_memory now = {0};
        list_append(&shared->open, &w->link);
        sock_memory(w->conn.stream.fd, &now);
        set_kernel(w, now);
        conn_rest(&w->conn); /* not after each flush: a feed would have to take it again at once */
        set_slow(w, conn_age_ns(&w->conn, now_ns) > shared->slow_after_ns);
        keep_alive(w, now_ns);
        keep_deadlines(w, now_ns);
    }
}

void ws_expire(struct ws_shared *shared)
{
    uint64_t now_ns = loop_now_ns(shared->owner.loop);
    while (!list_empty(&shared->closing)) {
        struct ws *w = LIST_OF(shared->closing.next, struct ws, link);
        if (tick_age_ns(w->closing, now_ns) < shared->evict_grace_ns)
            return;
        reset(w, ERR_TIMEOUT);
    }
}

struct ws *ws_first_open(struct ws_shared *shared)
{
    return list_empty(&shared->open) ? NULL : LIST_OF(shared->open.next, struct ws, link);
}

bool ws_none_left(const struct ws_shared *shared)
{
    return list_empty(&shared->open) && list_empty(&shared->closing);
}

void ws_reset_all(struct ws_shared *shared)
{
    struct link *lists[] = {&shared->open, &shared->closing};
    for (int i = 0; i < 2; i++)
        while (!list_empty(lists[i]))
            die(LIST_OF(lists[i]->next, struct ws, link), true);
}
