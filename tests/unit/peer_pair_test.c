/* How both ends open, talk and close. */
#include "pair.h"

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

/* Something runs when the flushes of a turn have begun and before they are through. */
static void an_unanswered_ping_ends_in_3008(void **state)
{
    (void)state;
    ws.ping_interval_ns = 1;
    connect_to(0, "/t");
    client_allow(&peer[0].client, 0);
    uint64_t written = count_get(COUNT_frames_written);
    WAIT_FOR(count_get(COUNT_frames_written) > written || (ws_sample(&ws, 10, 10), false));
    assert_int_equal(count_get(COUNT_ping_timeouts), 0);
    ws_sample(&ws, 10, 10);
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
        TEST(an_unanswered_ping_ends_in_3008),
        TEST(visitors_past_their_deadline_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
