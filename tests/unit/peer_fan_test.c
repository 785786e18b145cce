/* What subscribers are sent: together, under the mark and the budget, and past them. */
#include "pair.h"

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
    connect_to(0, "/t");
    client_allow(&peer[0].client, 0);
    publish(60);
    assert_true(ws.ledger.total > 0);
    ws.budget = 10;
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
    ws_sample(&ws, 100, 100);
    assert_int_equal(count_get(COUNT_slow_clients), 1);
    assert_true(count_get(COUNT_kernel_queue_bytes) > 0);
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].messages == 60);
    ws_sample(&ws, 100, 100);
    assert_int_equal(count_get(COUNT_slow_clients), 0);
    assert_int_equal(count_get(COUNT_slow_clients_peak), 1);
}

static void what_one_turn_publishes_leaves_in_one_write(void **state)
{
    (void)state;
    connect_all();
    uint64_t writes = count_get(COUNT_writes), frames = count_get(COUNT_frames_written);
    cast_to("/t", "#1 "), cast_to("/t", "#2 "), cast_to("/t", "#3 ");
    assert_int_equal(count_get(COUNT_writes), writes);
    ev_run(ev, EVRUN_NOWAIT);
    assert_int_equal(count_get(COUNT_writes) - writes, CLIENTS);
    assert_int_equal(count_get(COUNT_frames_written) - frames, 3 * CLIENTS);
    assert_int_equal(count_get(COUNT_deliveries_queued), 3 * CLIENTS);
    WAIT_FOR(peer[0].messages == 3 && peer[1].messages == 3 && peer[2].messages == 3);
    assert_int_equal(peer[0].misses + peer[1].misses + peer[2].misses, 0);
    assert_int_equal(count_get(COUNT_queue_bytes_peak), 0);
}

/* More than the sockets have room for, some a turn: the part that does not leave at once follows, in order.
 */
static void what_the_stream_does_not_take_follows(void **state)
{
    (void)state;
    enum { TURNS = 40, EACH = 7 };
    char text[16];
    connect_all();
    client_allow(&peer[0].client, 0);
    for (int n = 0; n < TURNS * EACH; n++) {
        snprintf(text, sizeof text, "#%d ", n + 1);
        cast_to("/t", text);
        if (n % EACH == EACH - 1)
            ev_run(ev, EVRUN_NOWAIT);
    }
    assert_true(count_get(COUNT_queue_bytes) > 0);
    client_allow(&peer[0].client, UINT64_MAX);
    for (int i = 0; i < CLIENTS; i++) {
        WAIT_FOR(peer[i].messages == TURNS * EACH);
        assert_int_equal(peer[i].misses, 0);
    }
    WAIT_FOR(count_get(COUNT_queue_bytes) == 0);
    assert_int_equal(count_get(COUNT_frames_written), TURNS * EACH * CLIENTS);
    assert_int_equal(count_get(COUNT_bytes_written), TURNS * EACH * CLIENTS * FRAME);
}

static void what_was_published_before_a_close_comes_before_it(void **state)
{
    (void)state;
    connect_all();
    cast_to("/t", "last");
    while (ws_first_open(&ws) != NULL)
        ws_close(ws_first_open(&ws), ERR_DRAIN);
    WAIT_FOR(peer[0].ended && peer[1].ended && peer[2].ended);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(peer[i].code, 1012);
        assert_int_equal(peer[i].messages, 1);
    }
}

static void what_is_sent_to_one_stands_between_what_is_published(void **state)
{
    (void)state;
    connect_to(0, "/t");
    char payload[SIZE] = "#2 ";
    struct cast cast = {.payload = {payload, SIZE}, .text = true, .encode = encode};
    cast_to("/t", "#1 ");
    ws_send(ws_first_open(&ws), &cast);
    cast_done(&cast);
    cast_to("/t", "#3 ");
    WAIT_FOR(peer[0].messages == 3);
    assert_int_equal(peer[0].misses, 0);
}

static void whoever_comes_in_gets_nothing_that_was_published_before(void **state)
{
    (void)state;
    connect_to(0, "/t");
    cast_to("/t", "before");
    connect_to(1, "/t");
    publish_to("/t", "after");
    WAIT_FOR(peer[0].messages == 2 && peer[1].messages >= 1);
    assert_int_equal(peer[1].messages, 1);
    assert_memory_equal(peer[1].last, "after", 5);
}

static void whoever_is_evicted_on_its_way_into_a_topic_is_not_in_it(void **state)
{
    (void)state;
    connect_to(0, "/large");
    struct ws *large = ws_first_open(&ws);
    connect_to(1, "/t");
    client_allow(&peer[0].client, 0);
    client_allow(&peer[1].client, 0);
    for (int i = 0; i < 60; i++) {
        publish_to("/large", "m");
        if (i % 2)
            publish_to("/t", "m");
    }
    ws.budget = ws.ledger.total;
    cast_to("/t", "one too much");
    ws_join(large, SLICE("/t"));
    assert_int_equal(count_get(COUNT_evictions_budget), 1);
    assert_int_equal(hub_members(hub, SLICE("/large")), 0);
    assert_int_equal(hub_members(hub, SLICE("/t")), 1);
    client_allow(&peer[0].client, UINT64_MAX);
    WAIT_FOR(peer[0].ended);
    assert_int_equal(peer[0].code, 1013);
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
        TEST(what_one_turn_publishes_leaves_in_one_write),
        TEST(what_the_stream_does_not_take_follows),
        TEST(what_was_published_before_a_close_comes_before_it),
        TEST(what_is_sent_to_one_stands_between_what_is_published),
        TEST(whoever_comes_in_gets_nothing_that_was_published_before),
        TEST(whoever_is_evicted_on_its_way_into_a_topic_is_not_in_it),
    };
    const struct CMUnitTest refused[] = {cmocka_unit_test(io_uring_is_not_to_be_had)};
    if (BY_IO_URING && batch_open() < 0)
        return cmocka_run_group_tests(refused, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
