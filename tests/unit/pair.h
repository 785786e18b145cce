/* Both ends in one process: clients come in through a door over loopback, and subscribe to a hub. For the
 * tests of both. */
#pragma once

#include "peer/client.h"
#include "peer/door.h"
#include "peer/ws.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/err.h"
#include "net/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef BY_IO_URING /* who sends by it says so */
#define BY_IO_URING false
#endif

enum { CLIENTS = 3, SIZE = 1000, FRAME = SIZE + 4, MARK = 16384 };

static struct ev_loop *ev;
static struct loop *loop;
static struct hub *hub;
static struct ws_shared ws;
static struct door *door;
static struct door_config door_config;
static struct client_shared shared;
static struct rng rng;
static ev_timer ticker; /* lets a loop that waits come round */

static struct peer {
    struct client client;
    bool opened, ended, was_open;
    int code;
    uint64_t messages, bytes;
    uint64_t firsts; /* messages that say so */
    uint64_t misses; /* numbered messages that were not the next */
    char last[32];
} peer[CLIENTS];

static int admit(struct door_owner *owner, const struct arrival *a)
{
    (void)owner;
    return slice_is(a->path, "/no") ? ERR_HTTP_NOT_FOUND : 0;
}

static void enter(struct door_owner *owner, const struct arrival *a)
{
    (void)owner;
    struct ws_start start = {.stream = a->stream,
                             .address = a->address,
                             .topic = a->path,
                             .key = 1,
                             .may_publish = true,
                             .deflate = a->deflate,
                             .rest = a->rest,
                             .rest_size = a->rest_size};
    ws_open(&ws, &start);
}

static struct door_owner door_owner = {admit, enter};

static struct blob *encode(const struct cast *cast, unsigned format)
{
    (void)format;
    return message_frame(FRAME_TEXT, cast->payload.at, cast->payload.size, NULL, cast->now_ns);
}

static void from_client(struct ws_shared *s, struct ws *from, const struct message *m)
{
    struct cast cast = {.payload = {(const char *)m->at, m->size}, .text = true, .encode = encode};
    hub_publish_to(s->hub, ws_member(from)->topic, &cast, ws_member(from));
    cast_done(&cast);
}

static struct peer *peer_of(struct client *c)
{
    return LIST_OF(c, struct peer, client);
}

static void on_opened(struct client *c)
{
    peer_of(c)->opened = true;
}

static void on_message(struct client *c, const struct message *m)
{
    struct peer *p = peer_of(c);
    p->messages++;
    p->bytes += m->size;
    p->firsts += m->size == SIZE && memcmp(m->at, "firstx", 6) == 0;
    if (m->size == SIZE && m->at[0] == '#')
        p->misses += strtoull((const char *)m->at + 1, NULL, 10) != p->messages;
    snprintf(p->last, sizeof p->last, "%.*s", (int)(m->size < 20 ? m->size : 20), (const char *)m->at);
}

static void on_ended(struct client *c, bool was_open, int code)
{
    struct peer *p = peer_of(c);
    assert_false(p->ended);
    p->ended = true;
    p->was_open = was_open;
    p->code = code;
    client_release(c);
}

static void on_ticker(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

static void open_door(void)
{
    struct sock_options small = {.send_buffer = 4096};
    int listening = sock_listen("127.0.0.1", 0, 16, small.receive_buffer);
    assert_true(listening >= 0);
    door_config = (struct door_config){.head = {8192, HTTP1_HEADERS_MAX},
                                       .max_handshakes = 100,
                                       .handshake_timeout_ns = NS_PER_S,
                                       .gate = {.sock = small},
                                       .addresses = ws.addresses,
                                       .subprotocols = ""};
    shared.url = (struct url){.host = "127.0.0.1", .port = sock_port(listening), .target = "/t"};
    door = door_new(loop, listening, &door_owner, &door_config);
}

static int set_up(void **state)
{
    (void)state;
    alarm(30);
    memset(count_page->count, 0, sizeof count_page->count);
    memset(count_page->close, 0, sizeof count_page->close);
    memset(peer, 0, sizeof peer);
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = loop_new(ev);
    hub = hub_new();
    rng_seed(&rng, 1);
    ws_shared_init(&ws, loop, hub);
    ws.owner.batch = BY_IO_URING && batch_open() == 0;
    ws.message = from_client;
    ws.limits.max_message = 1 << 20;
    ws.message_timeout_ns = 100 * NS_PER_S;
    ws.addresses = address_table_new();
    ws.overflow.gap_notice = true;
    ws.evict_grace_ns = 100 * NS_PER_S;
    ws.slow_after_ns = NS_PER_S;
    shared = (struct client_shared){.owner = {.loop = loop},
                                    .rng = &rng,
                                    .sock = {.receive_buffer = 4096},
                                    .limits = {.max_message = 1 << 20},
                                    .opened = on_opened,
                                    .message = on_message,
                                    .ended = on_ended};
    open_door();
    ev_timer_init(&ticker, on_ticker, 0.002, 0.002);
    ev_timer_start(ev, &ticker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        client_release(&peer[i].client);
    door_free(door);
    ws_reset_all(&ws);
    loop_free(loop);
    if (ws.owner.batch)
        batch_close();
    hub_free(hub);
    address_table_free(ws.addresses);
    ev_timer_stop(ev, &ticker);
    ev_loop_destroy(ev);
    alarm(0);
    assert_int_equal(count_get(COUNT_queue_bytes), 0);
    assert_int_equal(count_get(COUNT_connections_open), 0);
    assert_int_equal(count_get(COUNT_slow_clients), 0);
    return blob_bytes_alive() == 0 ? 0 : -1;
}

/* alarm() ends a wait that is in vain. */
#define WAIT_FOR(condition)                                                                                  \
    while (!(condition))                                                                                     \
    ev_run(ev, EVRUN_ONCE)

static void connect_to(int i, const char *target)
{
    snprintf(shared.url.target, sizeof shared.url.target, "%s", target);
    assert_int_equal(client_connect(&peer[i].client, &shared), 0);
    WAIT_FOR(peer[i].opened || peer[i].ended);
}

static void connect_all(void)
{
    for (int i = 0; i < CLIENTS; i++)
        connect_to(i, "/t");
    WAIT_FOR(count_get(COUNT_connections_open) == CLIENTS);
}
