/* Both ends in one process: clients come in through a door over loopback, and subscribe to a hub. */
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

#ifndef BY_IO_URING /* peer_pair_uring_test.c sets it */
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

/* One message to every subscriber of the topic, at the end of this turn. */
static void cast_to(const char *topic, const char *text)
{
    char payload[SIZE];
    memset(payload, 'x', sizeof payload);
    memcpy(payload, text, strlen(text));
    struct cast cast = {.payload = {payload, sizeof payload},
                        .text = true,
                        .key = 1,
                        .now_ns = loop_refresh(loop),
                        .encode = encode};
    hub_publish(hub, (struct slice){topic, strlen(topic)}, &cast, NULL);
    cast_done(&cast);
}

/* Whoever reads has it when this returns. */
static void publish_to(const char *topic, const char *text)
{
    cast_to(topic, text);
    ev_run(ev, EVRUN_NOWAIT);
}

static void publish(int count)
{
    for (int i = 0; i < count; i++)
        publish_to("/t", "m");
}

static void they_talk(void **state)
{
    (void)state;
    connect_all();
    client_send(&peer[0].client, FRAME_TEXT, "hello", 5);
    WAIT_FOR(peer[1].messages == 1 && peer[2].messages == 1);
    assert_string_equal(peer[1].last, "hello");
    assert_int_equal(peer[0].messages, 0);
    assert_int_equal(count_get(COUNT_messages_in), 1);
    assert_int_equal(count_get(COUNT_deliveries_queued), 2);
}

static void large_messages_go_both_ways(void **state)
{
    (void)state;
    char *large = memset(mem_alloc(1 << 20), 'y', 1 << 20);
    connect_all();
    client_send(&peer[0].client, FRAME_TEXT, large, 1 << 20);
    free(large);
    WAIT_FOR(peer[1].messages == 1 && peer[2].messages == 1);
    assert_int_equal(peer[2].bytes, 1 << 20);
}

/* The frame head says 1,000 bytes and 500 come: what a client has us hold is counted, until it leaves. */
static void half_a_message_is_counted(void **state)
{
    (void)state;
    connect_to(0, "/t");
    struct blob *half = blob_new(8 + 500, 0, 0);
    memcpy(half->bytes, "\x82\xFE\x03\xE8mask", 8);
    memset(half->bytes + 8, 'x', 500);
    sendq_push(conn_out(&peer[0].client.conn), half);
    conn_at_turn_end(&peer[0].client.conn);
    WAIT_FOR(count_get(COUNT_incoming_bytes) >= 500);
    client_abort(&peer[0].client);
    WAIT_FOR(ws_none_left(&ws) && count_get(COUNT_incoming_bytes) == 0);
}

static void a_refused_client_ends_without_having_been_open(void **state)
{
    (void)state;
    connect_to(0, "/no");
    WAIT_FOR(peer[0].ended);
    assert_false(peer[0].was_open);
    assert_int_equal(peer[0].code, 1006);
    assert_int_equal(count_get(COUNT_connections_refused), 1);
}

static void nobody_listens(void **state)
{
    (void)state;
    door_shut(door, ERR_DRAIN);
    connect_to(0, "/t");
    assert_true(peer[0].ended);
    assert_false(peer[0].was_open);
}

static void the_client_closes(void **state)
{
    (void)state;
    connect_all();
    client_close(&peer[0].client, 4000);
    WAIT_FOR(peer[0].ended);
    assert_true(peer[0].was_open);
    assert_int_equal(peer[0].code, 4000);
    WAIT_FOR(count_get(COUNT_connections_open) == CLIENTS - 1);
}

static void the_server_closes(void **state)
{
    (void)state;
    connect_all();
    while (ws_first_open(&ws) != NULL)
        ws_close(ws_first_open(&ws), ERR_DRAIN);
    WAIT_FOR(peer[0].ended && peer[1].ended && peer[2].ended);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(peer[i].code, 1012);
    WAIT_FOR(ws_none_left(&ws));
    assert_int_equal(hub_members(hub, SLICE("/t")), 0);
}

static void a_reset_client_has_no_code(void **state)
{
    (void)state;
    connect_all();
    client_abort(&peer[0].client);
    WAIT_FOR(peer[0].ended && count_get(COUNT_connections_open) == CLIENTS - 1);
    assert_int_equal(peer[0].code, 1006);
}

static void who_may_read_so_much_reads_so_much(void **state)
{
    (void)state;
    connect_all();
    client_allow(&peer[0].client, 0);
    publish(1);
    WAIT_FOR(peer[1].messages == 1);
    assert_int_equal(peer[0].messages, 0);
    client_allow(&peer[0].client, FRAME - 1);
    WAIT_FOR(peer[0].client.allowance == 0);
    assert_int_equal(peer[0].messages, 0);
    client_allow(&peer[0].client, 1);
    WAIT_FOR(peer[0].messages == 1);
}

static void eviction_has_two_phases(void **state)
{
    (void)state;
    ws.overflow.policy = (struct policy){MARK, OVERFLOW_CLOSE};
    connect_all();
    client_allow(&peer[0].client, 0);
    for (int i = 0; count_get(COUNT_evictions_mark) == 0; i++) {
        assert_true(i < 200);
        publish(1);
        assert_true(count_get(COUNT_queue_bytes_peak) <= MARK + 2 * FRAME);
    }
    assert_int_equal(count_get(COUNT_connections_open), CLIENTS - 1);
    /* What had not begun to leave is gone: at most a frame and the Close are left. */
    assert_true(count_get(COUNT_queue_bytes) <= FRAME + 2 + FRAME_CONTROL_MAX);
    assert_int_equal(count_get(COUNT_evictions_flushed), 0);
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].ended);
    assert_int_equal(peer[0].code, 1013);
    assert_int_equal(peer[0].bytes, peer[0].messages * SIZE); /* whole messages only */
    WAIT_FOR(ws_none_left(&ws) || count_get(COUNT_evictions_confirmed) == 1);
    assert_int_equal(count_get(COUNT_evictions_flushed), 1);
    assert_int_equal(count_get(COUNT_evictions_confirmed), 1);
    assert_int_equal(count_get(COUNT_closes_reset), 0);
    publish(1);
    uint64_t all = peer[1].messages;
    WAIT_FOR(peer[1].messages == peer[2].messages && all > 0);
}

static void after_the_grace_it_is_reset(void **state)
{
    (void)state;
    ws.overflow.policy = (struct policy){MARK, OVERFLOW_CLOSE};
    ws.evict_grace_ns = 0;
    connect_all();
    client_allow(&peer[0].client, 0);
    while (count_get(COUNT_evictions_mark) == 0)
        publish(1);
    ws_expire(&ws);
    ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(count_get(COUNT_closes_reset), 1);
    assert_int_equal(count_get(COUNT_evictions_confirmed), 0);
    WAIT_FOR(client_orphaned(&peer[0].client));
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].ended);
    assert_int_equal(peer[0].code, 1006);
}

static void every_policy_stays_under_the_mark(void **state)
{
    (void)state;
    static const enum overflow policies[] = {OVERFLOW_DROP_NEWEST, OVERFLOW_DROP_OLDEST, OVERFLOW_CONFLATE};
    connect_all();
    client_allow(&peer[0].client, 0);
    for (int i = 0; i < 3; i++) {
        ws.overflow.policy = (struct policy){MARK, policies[i]};
        uint64_t queued = count_get(COUNT_deliveries_queued), dropped = count_get(COUNT_deliveries_dropped);
        for (int k = 0; k < 100; k++) {
            publish(1);
            assert_true(ws.ledger.total <= (uint64_t)MARK + 2 * FRAME * (CLIENTS - 1) + 36);
        }
        queued = count_get(COUNT_deliveries_queued) - queued;
        dropped = count_get(COUNT_deliveries_dropped) - dropped;
        assert_true(dropped > 0);
        assert_true(queued <= 100 * CLIENTS);
        assert_true(queued + dropped >= 100 * CLIENTS);
    }
    assert_int_equal(count_get(COUNT_connections_open), CLIENTS);
}

static void cast_many(struct turn *t)
{
    (void)t;
    for (int i = 0; i < 20; i++)
        cast_to("/t", "m");
}

static void reset_all(struct turn *t)
{
    (void)t;
    ws_reset_all(&ws);
}

/* Something runs when the flushes of a turn have begun and before they are through. */
static void publish_and(void (*run)(struct turn *))
{
    struct turn t;
    turn_init(&t, run);
    cast_to("/t", "first");
    loop_at_turn_end(loop, &t);
    ev_run(ev, EVRUN_NOWAIT);
}

static void what_is_leaving_is_not_dropped(void **state)
{
    (void)state;
    static const enum overflow policies[] = {OVERFLOW_DROP_NEWEST, OVERFLOW_DROP_OLDEST, OVERFLOW_CONFLATE};
    connect_all();
    for (int i = 0; i < 3; i++) {
        ws.overflow.policy = (struct policy){3 * FRAME, policies[i]};
        peer[0].firsts = 0;
        publish_and(cast_many);
        publish_to("/t", "last");
        WAIT_FOR(strncmp(peer[0].last, "lastx", 5) == 0);
        assert_int_equal(peer[0].firsts, 1);
    }
    assert_true(count_get(COUNT_deliveries_dropped) > 0);
}

static void who_is_evicted_while_it_is_sent_to_gets_whole_messages(void **state)
{
    (void)state;
    connect_all();
    ws.overflow.policy = (struct policy){3 * FRAME, OVERFLOW_CLOSE};
    publish_and(cast_many);
    WAIT_FOR(peer[0].ended && peer[1].ended && peer[2].ended);
    assert_int_equal(peer[0].code, 1013);
    assert_int_equal(peer[0].firsts, 1);
    assert_int_equal(peer[0].bytes, peer[0].messages * SIZE);
}

static void the_budget_is_kept_while_they_are_sent_to(void **state)
{
    (void)state;
    connect_all();
    ws.budget = 4 * FRAME;
    publish_and(cast_many);
    assert_true(count_get(COUNT_evictions_budget) > 0 && ws.ledger.total <= ws.budget);
    WAIT_FOR(ws_none_left(&ws) || peer[0].ended);
}

static void all_are_reset_while_they_are_sent_to(void **state)
{
    (void)state;
    connect_all();
    publish_and(reset_all);
    WAIT_FOR(peer[0].ended && peer[1].ended && peer[2].ended);
    assert_int_equal(peer[0].code, 1006);
}

static void the_budget_takes_the_largest_first(void **state)
{
    (void)state;
    connect_to(0, "/large");
    connect_to(1, "/small");
    connect_to(2, "/t");
    client_allow(&peer[0].client, 0);
    client_allow(&peer[1].client, 0);
    for (int i = 0; i < 60; i++) {
        publish_to("/large", "m");
        publish_to(i % 2 ? "/t" : "/small", "m");
    }
    uint64_t before = ws.ledger.total;
    assert_true(before > 30 * FRAME);
    ws.budget = before;
    publish_to("/small", "m");
    assert_int_equal(count_get(COUNT_evictions_budget), 1);
    assert_int_equal(hub_members(hub, SLICE("/large")), 0);
    assert_int_equal(hub_members(hub, SLICE("/small")), 1);
    assert_true(ws.ledger.total <= ws.budget);
    client_allow(&peer[0].client, UINT64_MAX);
    client_allow(&peer[1].client, UINT64_MAX);
    WAIT_FOR(peer[0].ended && peer[1].messages == 31);
    assert_int_equal(peer[0].code, 1013);
}

static void a_budget_too_small_for_the_last_frame_resets(void **state)
{
    (void)state;
    ws.budget = 10;
    connect_to(0, "/t");
    client_allow(&peer[0].client, 0);
    publish(1);
    assert_int_equal(count_get(COUNT_evictions_budget), 1);
    assert_int_equal(ws.ledger.total, 0);
    WAIT_FOR(ws_none_left(&ws));
}

static void a_slow_one_is_counted_until_it_catches_up(void **state)
{
    (void)state;
    ws.slow_after_ns = 1;
    connect_all();
    client_allow(&peer[0].client, 0);
    publish(60);
    WAIT_FOR(peer[1].messages == 60 && peer[2].messages == 60);
    loop_refresh(loop);
    ws_sample(&ws, 100);
    assert_int_equal(count_get(COUNT_slow_clients), 1);
    assert_true(count_get(COUNT_kernel_queue_bytes) > 0);
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].messages == 60);
    ws_sample(&ws, 100);
    assert_int_equal(count_get(COUNT_slow_clients), 0);
    assert_int_equal(count_get(COUNT_slow_clients_peak), 1);
}

static void an_unanswered_ping_ends_in_3008(void **state)
{
    (void)state;
    ws.ping_interval_ns = 1;
    connect_to(0, "/t");
    client_allow(&peer[0].client, 0);
    uint64_t written = count_get(COUNT_frames_written);
    WAIT_FOR(count_get(COUNT_frames_written) > written || (ws_sample(&ws, 10), false));
    assert_int_equal(count_get(COUNT_ping_timeouts), 0);
    ws_sample(&ws, 10);
    assert_int_equal(count_get(COUNT_ping_timeouts), 1);
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].ended);
    assert_int_equal(peer[0].code, 3008);
}

static void visitors_past_their_deadline_are_dropped(void **state)
{
    (void)state;
    door_config.handshake_timeout_ns = 0;
    int fd = sock_connect("127.0.0.1", shared.url.port, NULL, &(struct sock_options){0});
    char byte;
    assert_true(fd >= 0);
    WAIT_FOR(count_get(COUNT_connections_accepted) == 1);
    loop_refresh(loop);
    door_tick(door);
    assert_int_equal(count_get(COUNT_connections_timed_out), 1);
    WAIT_FOR(read(fd, &byte, 1) == 0);
    close(fd);
}

static void io_uring_is_not_to_be_had(void **state)
{
    (void)state;
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(they_talk),
        TEST(large_messages_go_both_ways),
        TEST(half_a_message_is_counted),
        TEST(a_refused_client_ends_without_having_been_open),
        TEST(nobody_listens),
        TEST(the_client_closes),
        TEST(the_server_closes),
        TEST(a_reset_client_has_no_code),
        TEST(who_may_read_so_much_reads_so_much),
        TEST(eviction_has_two_phases),
        TEST(after_the_grace_it_is_reset),
        TEST(every_policy_stays_under_the_mark),
        TEST(what_is_leaving_is_not_dropped),
        TEST(who_is_evicted_while_it_is_sent_to_gets_whole_messages),
        TEST(the_budget_is_kept_while_they_are_sent_to),
        TEST(all_are_reset_while_they_are_sent_to),
        TEST(the_budget_takes_the_largest_first),
        TEST(a_budget_too_small_for_the_last_frame_resets),
        TEST(a_slow_one_is_counted_until_it_catches_up),
        TEST(an_unanswered_ping_ends_in_3008),
        TEST(visitors_past_their_deadline_are_dropped),
    };
    const struct CMUnitTest refused[] = {cmocka_unit_test(io_uring_is_not_to_be_had)};
    if (BY_IO_URING && batch_open() < 0)
        return cmocka_run_group_tests(refused, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
