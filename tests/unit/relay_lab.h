/* A server in this process behind a real Redis, and clients as bytes. */
#pragma once

#include "base/buf.h"
#include "base/count.h"
#include "base/err.h"
#include "redis_lab.h"
#include "wsb.h"

#include <sys/socket.h>

static struct server server;
static struct wsb_server *wsb;
static struct redis *asking;

/* A client's end: bytes as they are. */
struct end {
    int fd;
    struct buf in;
    char text[2048]; /* of the frame taken last */
    uint8_t opcode;
};
static struct end one, two, three;

static void serve(const char *const *more)
{
    char url[64], why[256];
    const char *settings[16] = {url, "publish_token=", "redis_prefix=t"};
    snprintf(url, sizeof url, "redis=redis://127.0.0.1:%u", server.port);
    for (size_t i = 3; *more != NULL; i++)
        settings[i] = *more++;
    wsb = wsb_server_new(ev, settings, why, sizeof why);
    if (wsb == NULL)
        fail_msg("%s", why);
}

static void ask(void)
{
    char url[64], why[128];
    struct redis_options redis = {.owner = NULL};
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", server.port);
    assert_int_equal(redis_url_parse(url, &redis.url, why, sizeof why), 0);
    asking = redis_new(loop, &redis);
    WAIT(redis_state(asking) == REDIS_UP);
}

static uint64_t count_of(const char *name)
{
    uint64_t value;
    assert_true(wsb_count(name, &value));
    return value;
}

/* more: bytes that come with the head, in the same segment. */
static void come(struct end *e, const char *target, const void *more, size_t size)
{
    static const struct sock_options plain;
    char head[4096];
    int length = snprintf(head, sizeof head,
                          "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          target);
    memcpy(head + length, more, size);
    *e = (struct end){.fd = sock_connect("127.0.0.1", wsb_server_port(wsb), NULL, &plain)};
    struct pollfd ready = {.fd = e->fd, .events = POLLOUT};
    assert_int_equal(poll(&ready, 1, 1000), 1);
    assert_int_equal(send(e->fd, head, (size_t)length + size, MSG_NOSIGNAL), (size_t)length + size);
}

static void leave(struct end *e)
{
    if (e->fd > 0)
        close(e->fd);
    buf_free(&e->in);
    *e = (struct end){0};
}

/* With a mask of zeros. */
static void say(struct end *e, const char *text)
{
    uint8_t frame[131] = {0x81, (uint8_t)(0x80 | strlen(text))};
    memcpy(frame + 6, text, strlen(text));
    assert_int_equal(send(e->fd, frame, 6 + strlen(text), MSG_NOSIGNAL), 6 + strlen(text));
}

static bool take_frame(struct end *e)
{
    char *end;
    if (e->in.size > 4 && memcmp(e->in.at, "HTTP", 4) == 0) {
        end = memmem(e->in.at, e->in.size, "\r\n\r\n", 4);
        if (end == NULL)
            return false;
        assert_int_equal(memcmp(e->in.at, "HTTP/1.1 101", 12), 0);
        buf_consume(&e->in, (size_t)(end + 4 - (char *)e->in.at));
    }
    const uint8_t *at = e->in.at;
    size_t head = 2, size = e->in.size > 1 ? at[1] : 0;
    if (size == 126) {
        head = 4;
        size = e->in.size >= 4 ? (size_t)at[2] << 8 | at[3] : 0;
    }
    if (e->in.size < head || e->in.size < head + size)
        return false;
    e->opcode = at[0] & 15;
    snprintf(e->text, sizeof e->text, "%.*s", (int)size, (const char *)at + head);
    buf_consume(&e->in, head + size);
    return true;
}

static bool hear(struct end *e)
{
    uint8_t bytes[4096];
    ssize_t size = recv(e->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0)
        buf_append(&e->in, bytes, (size_t)size);
    return take_frame(e);
}

static const char *next(struct end *e)
{
    WAIT_FOR(hear(e), 5);
    return e->text;
}

static void publish(const char *topic, const char *text)
{
    uint64_t stored = count_of("relay_published");
    wsb_server_publish(wsb, topic, text, strlen(text));
    WAIT_FOR(count_of("relay_published") > stored, 5);
}

/* What a `recovered` says, in short; the epoch is kept for `since`. */
static char epoch[16];
static const char *recovered(struct end *e)
{
    static char text[64];
    char word[8];
    unsigned long long offset;
    next(e);
    if (sscanf(e->text,
               "{\"wsb\":\"recovered\",\"recovered\":%5[a-z],\"epoch\":\"%8[0-9a-f]\",\"offset\":%llu}", word,
               epoch, &offset) != 3)
        fail_msg("'%s' instead of recovered", e->text);
    snprintf(text, sizeof text, "%s %llu", word, offset);
    return text;
}

static const char *body(struct end *e)
{
    next(e);
    const char *line = strchr(e->text, '\n');
    if (line == NULL)
        fail_msg("'%s' has no id", e->text);
    return line + 1;
}

static const char *since(const char *format, const char *topic, unsigned offset)
{
    static char target[128];
    snprintf(target, sizeof target, format, topic, epoch, offset);
    return target;
}

static void redo(struct end *e, const char *topic, unsigned offset)
{
    come(e, since("%s?since=%s:%u", topic, offset), "", 0);
}

static int set_up(void **state)
{
    (void)state;
    alarm(90);
    lab_loop();
    server = (struct server){0};
    if (lab_has("redis-server")) {
        lab_start(&server);
        ask();
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    leave(&one);
    leave(&two);
    leave(&three);
    wsb_server_free(wsb);
    redis_free(asking);
    wsb = NULL;
    asking = NULL;
    if (server.pid > 0)
        lab_kill(&server);
    lab_loop_free();
    alarm(0);
    return 0;
}
