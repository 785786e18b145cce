#include "peer/ws_parts.h"

#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/tick.h"
#include "net/sock.h"

#include <stdio.h>
#include <stdlib.h>

static struct pool pool = POOL_OF(pool, struct ws);

static struct ws_extra *extra_of(struct ws *w)
{
    if (w->extra == NULL)
        w->extra = mem_zero(sizeof *w->extra);
    return w->extra;
}

static void leave_open(struct ws *w)
{
    if (w->state != WS_OPEN)
        return;
    void *held = ws_held(w);
    hub_leave(shared_of(w)->hub, &w->member);
    ws_set_slow(w, false);
    ws_set_busy(w, false);
    shared_of(w)->open_count--;
    count_sub(COUNT_connections_open, 1);
    if (held != NULL) {
        ws_hold(w, NULL);
        shared_of(w)->left(shared_of(w), held);
    }
}

void ws_abandon(struct ws *w)
{
    if (conn_queued(&w->conn) > 0)
        count_add(COUNT_deliveries_abandoned, sendq_drop_unstarted(conn_out(&w->conn)));
}

void ws_die(struct ws *w, bool reset)
{
    if (w->state == WS_DEAD)
        return;
    if (w->state == WS_OPEN)
        ws_abandon(w);
    leave_open(w);
    link_remove(&w->link);
    w->state = WS_DEAD;
    w->reset = reset;
    sendq_free(conn_out(&w->conn));
    ws_account(w);
    ws_flush_later(w);
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
    ws_account(w);
    ws_flush_later(w);
}

void ws_log(const struct ws *w, enum log_level level, const char *what, int err)
{
    char name[SOCK_NAME_MAX];
    sock_peer_name(w->conn.stream.fd, name);
    log_line(level, "%s %s: %s, %llu bytes queued", what, name, err_text(err),
             (unsigned long long)conn_queued(&w->conn));
}

/* The reason is what a client can do about it, where there is something, else the error's text. */
void ws_close_for(struct ws *w, int err)
{
    char reason[FRAME_CONTROL_MAX];
    int code = err_close_code(err);
    uint64_t window_ms = shared_of(w)->reconnect_window_ns / NS_PER_MS;
    bool later = code == 1012 || code == 1013;
    snprintf(reason, sizeof reason, "{\"wsb\":\"reconnect\",\"window_ms\":%llu}",
             (unsigned long long)window_ms);
    begin_closing(w, code, later && window_ms > 0 ? reason : err_text(err));
}

void ws_evict(struct ws *w, int err)
{
    ws_log(w, LOG_WARN, "evict", err);
    count_add(err == ERR_BUDGET ? COUNT_evictions_budget : COUNT_evictions_mark, 1);
    w->evicted = true;
    ws_abandon(w);
    ws_close_for(w, err);
}

void ws_close(struct ws *w, int err)
{
    if (w->state == WS_OPEN)
        hub_settle_topic(shared_of(w)->hub, w->member.topic);
    if (w->state == WS_OPEN)
        ws_close_for(w, err);
}

void ws_reset(struct ws *w, int err)
{
    ws_log(w, LOG_INFO, "reset", err);
    count_add(COUNT_closes_reset, 1);
    ws_die(w, true);
}

static void peer_closes(struct ws *w, const struct message *message)
{
    bool had_ours = w->state == WS_CLOSING && conn_drained(&w->conn);
    count_close_seen(message->close_code);
    w->input = INPUT_CLOSED;
    if (w->evicted && had_ours)
        count_add(COUNT_evictions_confirmed, 1);
    if (w->state == WS_OPEN) {
        ws_abandon(w);
        begin_closing(w, message->close_code == 1005 ? 1000 : message->close_code, "");
    }
    ws_flush_later(w);
}

void ws_push_urgent(struct ws *w, enum frame_opcode opcode, const void *payload, size_t size)
{
    conn_push_urgent(&w->conn, message_frame(opcode, payload, size, NULL, loop_now_ns(loop_of(w))));
    ws_account(w);
    ws_flush_later(w);
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

void ws_break_off(struct ws *w, int err)
{
    ws_log(w, LOG_INFO, "close", err);
    count_add(err == ERR_TIMEOUT ? COUNT_clients_timed_out : COUNT_clients_over_limit, 1);
    w->input = INPUT_IGNORED;
    ws_abandon(w);
    ws_close_for(w, err);
}

static void take_message(struct ws *w, const struct message *message)
{
    int err = check_message(w);
    if (err < 0) {
        ws_break_off(w, err);
        return;
    }
    count_add(COUNT_messages_in, 1);
    shared_of(w)->message(shared_of(w), w, message);
}

static bool got(struct conn *c, const struct message *message)
{
    struct ws *w = ws_of(c);
    switch (message->kind) {
    case MESSAGE_NONE:
    case MESSAGE_PONG: break;
    case MESSAGE_PING:
        if (w->state == WS_OPEN)
            ws_push_urgent(w, FRAME_PONG, message->at, message->size);
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
void ws_ended(struct ws *w)
{
    if (w->input != INPUT_CLOSED)
        count_close_seen(1006);
    ws_die(w, w->input != INPUT_CLOSED);
}

static void check_bytes(struct ws *w, size_t bytes)
{
    double rate = shared_of(w)->byte_rate;
    if (w->state == WS_OPEN && rate > 0 &&
        !meter_take(&extra_of(w)->bytes, rate, (double)bytes, loop_now_ns(loop_of(w))))
        ws_break_off(w, ERR_RATE);
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
        ws_ended(w);
        return;
    }
    ws_log(w, LOG_INFO, "close", (int)result);
    count_add(COUNT_protocol_errors, 1);
    w->input = INPUT_IGNORED;
    if (w->state != WS_OPEN)
        return;
    ws_abandon(w);
    ws_close_for(w, (int)result);
}

static void ready(EV_P_ ev_io *io, int events)
{
    (void)loop;
    struct ws *w = ws_of(LIST_OF(io, struct conn, io));
    if (w->state == WS_DEAD)
        return;
    size_t held = conn_incoming_bytes(&w->conn);
    if (events & EV_READ)
        settle_receive(w, held,
                       w->input == INPUT_IGNORED
                           ? conn_discard(&w->conn)
                           : conn_receive(&w->conn, &shared_of(w)->limits, LOOP_SCRATCH_SIZE, got));
    if (events & EV_WRITE)
        ws_flush_later(w);
}

static void turn_end(struct conn *c)
{
    struct ws *w = ws_of(c);
    loop_at_turn_end(loop_of(w), &shared_of(w)->settled);
    if (w->state != WS_DEAD)
        ws_flush(w);
    if (w->state != WS_DEAD)
        return;
    ws_set_kernel(w, (struct sock_memory){0});
    count_sub(COUNT_incoming_bytes, conn_incoming_bytes(c));
    if (w->address != NULL)
        address_leave(shared_of(w)->addresses, w->address);
    if (!w->reset) /* its last bytes may be in the kernel still, but not for ever */
        sock_give_up_after(w->conn.stream.fd, shared_of(w)->evict_grace_ns);
    conn_close(c, w->reset);
    free(w->extra);
    pool_put(&pool, w);
}

void ws_trim(uint64_t now_ns)
{
    conn_trim(now_ns);
    pool_trim(&pool, now_ns);
}

void ws_shared_init(struct ws_shared *shared, struct loop *loop, struct hub *hub)
{
    *shared = (struct ws_shared){.owner = {loop, turn_end}, .hub = hub};
    ledger_init(&shared->ledger);
    ws_fan_init(shared);
    link_init(&shared->open);
    link_init(&shared->busy);
    link_init(&shared->closing);
}

struct ws *ws_open(struct ws_shared *shared, const struct ws_start *start)
{
    struct ws *w = pool_take(&pool);
    *w = (struct ws){.address = start->address, .may_publish = start->may_publish, .wrote = true};
    w->heard = w->spoke = tick_of(loop_now_ns(shared->owner.loop));
    w->member.deliver = ws_deliver;
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
    if (w->state != WS_OPEN)
        return;
    hub_join(shared_of(w)->hub, topic, &w->member);
    if (w->state != WS_OPEN) /* what the others were handed first was too much for the budget */
        hub_leave(shared_of(w)->hub, &w->member);
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

bool ws_none_left(const struct ws_shared *shared)
{
    return list_empty(&shared->open) && list_empty(&shared->busy) && list_empty(&shared->closing);
}

void ws_reset_all(struct ws_shared *shared)
{
    struct link *lists[] = {&shared->open, &shared->busy, &shared->closing};
    for (int i = 0; i < 3; i++)
        while (!list_empty(lists[i]))
            ws_die(LIST_OF(lists[i]->next, struct ws, link), true);
}
