#include "peer/client.h"

#include "base/count.h"
#include "base/err.h"
#include "base/log.h"
#include "net/tls.h"
#include "peer/hint.h"
#include "wire/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESPONSE_HEAD_MAX = 16 * 1024, TLS_FAILED = 1015 };

/* Smaller messages are not worth compressing. */
enum { DEFLATE_MIN = 64 };

struct client_handshake {
    char key[UPGRADE_KEY_SIZE + 1];
    struct buf head;
    struct http1_scan scan;
};

static struct client *from_conn(struct conn *c)
{
    return LIST_OF(c, struct client, conn);
}

static const struct url *url_of(struct client *c)
{
    return c->shared->aim != NULL ? c->shared->aim(c) : &c->shared->url;
}

static void flush_later(struct client *c)
{
    conn_at_turn_end(&c->conn);
}

static void forget_handshake(struct client *c)
{
    if (c->handshake == NULL)
        return;
    buf_free(&c->handshake->head);
    free(c->handshake);
    c->handshake = NULL;
}

static void end(struct client *c, int code)
{
    if (c->state == CLIENT_ENDED)
        return;
    c->state = CLIENT_ENDED;
    if (c->code == 0)
        c->code = code;
    flush_later(c);
}

static void random_bytes(struct rng *rng, uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(rng_next(rng) >> 32);
}

static void push(struct client *c, struct blob *frame)
{
    sendq_push(conn_out(&c->conn), frame);
    flush_later(c);
}

static const uint8_t *new_mask(struct client *c, uint8_t mask[4])
{
    random_bytes(c->shared->rng, mask, 4);
    return mask;
}

static void begin_closing(struct client *c, int code)
{
    uint8_t mask[4];
    c->state = CLIENT_CLOSING;
    count_close_sent(code);
    push(c, message_close_frame(code, "", new_mask(c, mask), loop_now_ns(c->shared->owner.loop)));
}

static void peer_closes(struct client *c, const struct message *message)
{
    count_close_seen(message->close_code);
    c->code = message->close_code;
    c->heard.window_ns = hint_window_ns(message);
    if (c->state == CLIENT_OPEN)
        begin_closing(c, message->close_code == 1005 ? 1000 : message->close_code);
}

static void push_urgent(struct client *c, enum frame_opcode opcode, const void *payload, size_t size)
{
    uint8_t mask[4];
    conn_push_urgent(&c->conn, message_frame(opcode, payload, size, new_mask(c, mask),
                                             loop_now_ns(c->shared->owner.loop)));
    flush_later(c);
}

static bool got(struct conn *conn, const struct message *message)
{
    struct client *c = from_conn(conn);
    switch (message->kind) {
    case MESSAGE_NONE:
    case MESSAGE_PONG: break;
    case MESSAGE_PING:
        if (c->state == CLIENT_OPEN)
            push_urgent(c, FRAME_PONG, message->at, message->size);
        break;
    case MESSAGE_CLOSE: peer_closes(c, message); break;
    case MESSAGE_TEXT:
    case MESSAGE_BINARY: c->shared->message(c, message); break;
    }
    return c->state != CLIENT_ENDED;
}

/* The end of the stream: with the peer's Close it is an orderly one. */
static void stream_ended(struct client *c)
{
    if (c->state == CLIENT_ENDED)
        return;
    if (c->was_open && c->code == 0)
        count_close_seen(1006);
    end(c, 1006);
}

/* The server broke the protocol: it is told so, and not waited for. */
static void fail(struct client *c, int err)
{
    if (c->state == CLIENT_OPEN)
        begin_closing(c, err_close_code(err));
    stream_ended(c);
}

static void hear(struct client *c)
{
    c->heard_ns = loop_now_ns(c->shared->owner.loop);
    c->pinged_ns = 0;
}

static void receive(struct client *c)
{
    if (c->allowance == 0) {
        conn_read_on(&c->conn, false);
        return;
    }
    long size = conn_receive(&c->conn, &c->shared->limits, c->allowance, got);
    if (size == ERR_CLOSED) {
        stream_ended(c);
    } else if (size < 0) {
        fail(c, (int)size);
    } else {
        count_add(COUNT_bytes_received, (uint64_t)size);
        if (size > 0)
            hear(c);
        if (c->allowance != UINT64_MAX)
            c->allowance -= (uint64_t)size;
    }
}

static void open_now(struct client *c, uint8_t *rest, size_t size)
{
    c->state = CLIENT_OPEN;
    c->was_open = true;
    count_time(HIST_connect_time, loop_refresh(c->shared->owner.loop) - c->began_ns);
    hear(c);
    c->shared->opened(c);
    count_add(COUNT_bytes_received, size);
    int err = size > 0 ? conn_take(&c->conn, rest, size, &c->shared->limits, got) : 0;
    if (err < 0)
        fail(c, err);
    forget_handshake(c);
}

static void note_refusal(struct client *c, const struct http1_head *response)
{
    if (response->status == 101)
        return;
    c->heard.status = response->status;
    c->heard.retry_after_ns = hint_retry_after_ns(response);
}

/* Whether the response lets the client in; what was agreed holds from now on. */
static bool accepted(struct client *c, const struct http1_head *response)
{
    const struct client_shared *shared = c->shared;
    struct deflate_terms terms = {0};
    if (upgrade_check_response(response, c->handshake->key, shared->subprotocols, shared->deflate.on) < 0 ||
        deflate_check(response, &shared->deflate, &terms) < 0)
        return false;
    conn_compress(&c->conn, &terms);
    if (shared->answered != NULL)
        shared->answered(c, response);
    count_add(COUNT_clients_deflated, terms.on);
    return true;
}

static void receive_head(struct client *c)
{
    static const struct http1_limits limits = {RESPONSE_HEAD_MAX, HTTP1_HEADERS_MAX};
    struct buf *head = &c->handshake->head;
    struct http1_head response;
    size_t size = 0;
    uint8_t *into = buf_reserve(head, RESPONSE_HEAD_MAX);
    switch (stream_read(&c->conn.stream, into, RESPONSE_HEAD_MAX, &size)) {
    case IO_AGAIN: return;
    case IO_FAILED:
        c->refused = true;
        end(c, 1006);
        return;
    case IO_CLOSED: end(c, 1006); return;
    case IO_DONE: break;
    }
    head->size += size;
    int used = http1_response((const char *)head->at, head->size, &limits, &c->handshake->scan, &response);
    if (used == 0)
        return;
    if (used > 0)
        note_refusal(c, &response);
    if (used < 0 || !accepted(c, &response))
        end(c, 1006);
    else
        open_now(c, head->at + used, head->size - (size_t)used);
}

static void send_request(struct client *c)
{
    const struct client_shared *shared = c->shared;
    struct buf out = {0}, extra = {0};
    char host[URL_HOST_MAX + 16], target[CLIENT_TARGET_SIZE];
    uint8_t random[16];
    const struct url *url = url_of(c);
    bool v6 = strchr(url->host, ':') != NULL;
    snprintf(host, sizeof host, "%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
    random_bytes(shared->rng, random, sizeof random);
    upgrade_make_key(random, c->handshake->key);
    deflate_offer(&shared->deflate, &extra);
    snprintf(target, sizeof target, "%s", url->target);
    if (shared->ask != NULL)
        shared->ask(c, target, &extra);
    struct upgrade_ask ask = {.host = host,
                              .target = target,
                              .key = c->handshake->key,
                              .origin = shared->origin,
                              .token = shared->token,
                              .subprotocols = shared->subprotocols,
                              .extra = {(const char *)extra.at, extra.size}};
    upgrade_request(&ask, &out);
    buf_free(&extra);
    struct blob *request = blob_new(out.size, loop_now_ns(shared->owner.loop), 0);
    memcpy(request->bytes, out.at, out.size);
    buf_free(&out);
    c->state = CLIENT_UPGRADING;
    conn_read_on(&c->conn, true);
    push(c, request);
}

static void secure(struct client *c)
{
    switch (stream_handshake(&c->conn.stream)) {
    case IO_DONE: break;
    case IO_AGAIN:
        if (stream_wants_write(&c->conn.stream))
            conn_wait_writable(&c->conn);
        else
            conn_read_on(&c->conn, true);
        return;
    case IO_CLOSED:
    case IO_FAILED:
        log_line(LOG_WARN, "TLS: %s", stream_error(&c->conn.stream));
        count_add(COUNT_clients_tls_failed, 1);
        end(c, TLS_FAILED);
        return;
    }
    count_add(COUNT_clients_tls_resumed, stream_resumed(&c->conn.stream));
    send_request(c);
}

static void connected(struct client *c)
{
    int error = sock_error(c->conn.stream.fd);
    if (error != 0) {
        c->refused = error == ECONNREFUSED || error == ECONNRESET;
        end(c, 1006);
    } else if (c->shared->tls == NULL) {
        send_request(c);
    } else if (stream_secure(&c->conn.stream, c->shared->tls) < 0) {
        end(c, TLS_FAILED);
    } else {
        c->state = CLIENT_SECURING;
        secure(c);
    }
}

static void ready(EV_P_ ev_io *io, int events)
{
    (void)loop;
    struct client *c = from_conn(LIST_OF(io, struct conn, io));
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_ENDED: return;
    case CLIENT_CONNECTING: connected(c); return;
    case CLIENT_SECURING: secure(c); return;
    case CLIENT_UPGRADING:
        if (events & EV_READ)
            receive_head(c);
        break;
    case CLIENT_OPEN:
    case CLIENT_CLOSING:
        if (events & EV_READ)
            receive(c);
        break;
    }
    if (events & EV_WRITE)
        flush_later(c);
}

static void turn_end(struct conn *conn)
{
    struct client *c = from_conn(conn);
    uint32_t frames;
    size_t bytes;
    if (c->state == CLIENT_CONNECTING || c->state == CLIENT_SECURING) {
        conn_rest(conn);
        return;
    }
    bool broken = !conn_flush(conn, &frames, &bytes); /* an ended one may still have a Close to send */
    c->refused = c->refused || (broken && c->state == CLIENT_UPGRADING);
    if (broken)
        stream_ended(c);
    if (c->state != CLIENT_ENDED) {
        conn_rest(conn);
        return;
    }
    turn_cancel(&conn->work->turn);
    c->shared->ended(c, c->was_open, c->code);
}

int client_connect(struct client *c, struct client_shared *shared)
{
    c->shared = shared;
    const struct url *url = url_of(c);
    int fd = sock_connect(url->host, url->port, shared->source, &shared->sock);
    if (fd < 0)
        return fd;
    *c = (struct client){.shared = shared, .state = CLIENT_CONNECTING, .allowance = UINT64_MAX};
    c->began_ns = loop_now_ns(shared->owner.loop);
    c->handshake = mem_zero(sizeof *c->handshake);
    shared->owner.turn_end = turn_end;
    conn_open(&c->conn, &shared->owner, (struct stream){.fd = fd}, false, ready);
    conn_wait_writable(&c->conn);
    return 0;
}

void client_send(struct client *c, enum frame_opcode opcode, const void *payload, size_t size)
{
    uint8_t mask[4];
    uint64_t now_ns = loop_now_ns(c->shared->owner.loop);
    const struct conn *conn = &c->conn;
    new_mask(c, mask);
    if (conn->format == CAST_PLAIN || size < DEFLATE_MIN) {
        push(c, message_frame(opcode, payload, size, mask, now_ns));
        return;
    }
    bool keep = conn_deflater(conn) != NULL;
    struct deflater *deflater =
        keep ? conn_deflater(conn) : deflaters_get(&c->shared->deflaters, conn->format);
    push(c, message_frame_deflated(opcode, payload, size, deflater, keep, mask, now_ns));
}

void client_allow(struct client *c, uint64_t bytes)
{
    c->allowance = bytes;
    if (c->state == CLIENT_OPEN || c->state == CLIENT_CLOSING)
        conn_read_on(&c->conn, bytes > 0);
}

void client_close(struct client *c, int code)
{
    switch (c->state) {
    case CLIENT_IDLE:
    case CLIENT_CLOSING:
    case CLIENT_ENDED: return;
    case CLIENT_CONNECTING:
    case CLIENT_SECURING:
    case CLIENT_UPGRADING: end(c, 1006); return;
    case CLIENT_OPEN:
        client_allow(c, UINT64_MAX);
        begin_closing(c, code);
        return;
    }
}

void client_listen(struct client *c, uint64_t interval_ns, uint64_t timeout_ns)
{
    uint64_t now_ns = loop_now_ns(c->shared->owner.loop);
    bool open = c->state == CLIENT_OPEN;
    if ((!open && c->state != CLIENT_CLOSING) || interval_ns == 0)
        return;
    if (c->allowance == 0) {
        hear(c);
    } else if (c->pinged_ns > 0 && now_ns - c->pinged_ns >= timeout_ns) {
        stream_ended(c);
    } else if (c->pinged_ns == 0 && now_ns - c->heard_ns >= interval_ns) {
        c->pinged_ns = now_ns;
        if (open) /* after a Close no frame may follow, but it is waited for all the same */
            push_urgent(c, FRAME_PING, NULL, 0);
    }
}

void client_give_up(struct client *c)
{
    if (c->state != CLIENT_IDLE)
        stream_ended(c);
}

void client_abort(struct client *c)
{
    if (c->state == CLIENT_IDLE || c->state == CLIENT_ENDED)
        return;
    sock_reset_on_close(c->conn.stream.fd);
    stream_ended(c);
}

bool client_orphaned(const struct client *c)
{
    return !sock_established(c->conn.stream.fd);
}

void client_release(struct client *c)
{
    if (c->state == CLIENT_IDLE)
        return;
    forget_handshake(c);
    conn_close(&c->conn, false);
    c->state = CLIENT_IDLE;
}
