/* The library as an embedder has it: wsb.h and a libev loop, a server and a swarm in one process. */
#include "wsb.h"

#include <ev.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct ev_loop *loop;
static struct wsb_server *server;
static struct wsb_swarm *swarm;
static char why[256];
static uint64_t opened, failed;
static bool connected, finished, server_done, swarm_done;
static ev_timer ticker; /* lets a loop that waits come round */

static void on_ticker(struct ev_loop *l, ev_timer *timer, int events)
{
    (void)l, (void)timer, (void)events;
}

static int set_up(void **state)
{
    (void)state;
    alarm(30);
    loop = ev_loop_new(EVFLAG_AUTO);
    server = NULL;
    swarm = NULL;
    connected = finished = server_done = swarm_done = false;
    opened = failed = 0;
    ev_timer_init(&ticker, on_ticker, 0.002, 0.002);
    ev_timer_start(loop, &ticker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wsb_swarm_free(swarm);
    wsb_server_free(server);
    ev_timer_stop(loop, &ticker);
    ev_loop_destroy(loop);
    alarm(0);
    return 0;
}

/* alarm() ends a wait that is in vain. */
#define WAIT_FOR(condition)                                                                                  \
    while (!(condition))                                                                                     \
    ev_run(loop, EVRUN_ONCE)

static uint64_t count(const char *name)
{
    uint64_t value;
    assert_true(wsb_count(name, &value));
    return value;
}

static void serve(const char *const *settings)
{
    server = wsb_server_new(loop, settings, why, sizeof why);
    if (server == NULL)
        fail_msg("%s", why);
    assert_true(wsb_server_port(server) > 0);
}

static void on_connected(void *arg, uint64_t up, uint64_t down)
{
    assert_ptr_equal(arg, why);
    assert_false(connected);
    connected = true;
    opened = up;
    failed = down;
}

static void on_finished(void *arg)
{
    assert_ptr_equal(arg, why);
    assert_false(finished);
    finished = true;
}

static void set_flag(void *arg)
{
    bool *flag = arg;
    assert_false(*flag);
    *flag = true;
}

/* Five clients, publishing 40 messages in 200 ms once started. */
static void bring_swarm(uint16_t port)
{
    const struct wsb_swarm_events events = {.connected = on_connected, .finished = on_finished, .arg = why};
    char url[64];
    snprintf(url, sizeof url, "url=ws://127.0.0.1:%u/feed", port);
    const char *settings[] = {url, "clients=5", "publish_rate=200/s", "publish_duration=200ms", NULL};
    swarm = wsb_swarm_new(loop, settings, &events, why, sizeof why);
    if (swarm == NULL)
        fail_msg("%s", why);
    WAIT_FOR(connected);
}

static void a_server_and_a_swarm_on_one_loop(void **state)
{
    (void)state;
    serve((const char *[]){"echo=true", NULL});
    uint64_t before = count("clients_opened");
    bring_swarm(wsb_server_port(server));
    assert_int_equal(opened - before, 5);
    assert_int_equal(failed, 0);
    WAIT_FOR(count("connections_open") == 5);
    assert_int_equal(count("clients_open"), 5);
    wsb_swarm_stop(swarm, set_flag, &swarm_done);
    WAIT_FOR(swarm_done);
    WAIT_FOR(count("connections_open") == 0);
    assert_int_equal(count("clients_open"), 0);
}

static void publishing_reaches_every_subscriber(void **state)
{
    (void)state;
    serve(NULL);
    assert_int_equal(wsb_server_publish(server, "/feed", "nobody", 6), 0);
    bring_swarm(wsb_server_port(server));
    WAIT_FOR(count("connections_open") == 5);
    uint64_t before = count("messages_foreign");
    assert_int_equal(wsb_server_publish(server, "/feed", "hello", 5), 5);
    assert_int_equal(wsb_server_publish(server, "/other", "hello", 5), 0);
    WAIT_FOR(count("messages_foreign") == before + 5);
}

static void the_schedule_is_carried_out_to_the_end(void **state)
{
    (void)state;
    serve((const char *[]){"echo=true", NULL});
    bring_swarm(wsb_server_port(server));
    WAIT_FOR(count("connections_open") == 5);
    uint64_t received = count("messages_received"), offered = count("publish_offered"),
             missed = count("messages_missed");
    assert_false(finished);
    wsb_swarm_start(swarm);
    wsb_swarm_start(swarm);
    WAIT_FOR(finished);
    assert_int_equal(count("publish_offered") - offered, 40);
    WAIT_FOR(count("messages_received") - received == 5 * 40);
    assert_int_equal(count("messages_missed"), missed);
    assert_int_equal(count("messages_duplicate"), 0);
    assert_int_equal(count("messages_corrupt"), 0);
}

static void a_drain_lets_everybody_go(void **state)
{
    (void)state;
    serve(NULL);
    bring_swarm(wsb_server_port(server));
    WAIT_FOR(count("connections_open") == 5);
    wsb_server_drain(server, set_flag, &server_done);
    WAIT_FOR(server_done);
    assert_int_equal(count("connections_open"), 0);
    WAIT_FOR(count("clients_open") == 0);
}

/* However often the loop comes round, a drain of an hour has only just begun. */
static void a_long_drain_leaves_most_open(void **state)
{
    (void)state;
    serve((const char *[]){"drain_window=1h", NULL});
    bring_swarm(wsb_server_port(server));
    WAIT_FOR(count("connections_open") == 5);
    wsb_server_drain(server, set_flag, &server_done);
    for (int i = 0; i < 50; i++)
        ev_run(loop, EVRUN_ONCE);
    assert_in_range(count("connections_open"), 4, 5);
    assert_false(server_done);
    wsb_server_stop(server, set_flag, &server_done);
    WAIT_FOR(server_done);
}

static void free_in_done(void *arg)
{
    wsb_server_free(server);
    server = NULL;
    set_flag(arg);
}

static void a_server_may_be_freed_in_done(void **state)
{
    (void)state;
    serve(NULL);
    bring_swarm(wsb_server_port(server));
    wsb_server_stop(server, free_in_done, &server_done);
    WAIT_FOR(server_done);
    WAIT_FOR(count("clients_open") == 0);
}

static void a_stop_of_nobody_is_done_too(void **state)
{
    (void)state;
    serve(NULL);
    wsb_server_stop(server, set_flag, &server_done);
    WAIT_FOR(server_done);
}

static void freed_with_everybody_connected(void **state)
{
    (void)state;
    serve(NULL);
    bring_swarm(wsb_server_port(server));
    wsb_server_free(server);
    server = NULL;
    assert_int_equal(count("connections_open"), 0);
    assert_int_equal(count("queue_bytes"), 0);
    WAIT_FOR(count("clients_open") == 0);
}

static void a_freed_swarm_has_no_clients(void **state)
{
    (void)state;
    serve(NULL);
    bring_swarm(wsb_server_port(server));
    wsb_swarm_free(swarm);
    swarm = NULL;
    assert_int_equal(count("clients_open"), 0);
    WAIT_FOR(count("connections_open") == 0);
}

static void live_options_change_all_or_none(void **state)
{
    (void)state;
    serve(NULL);
    assert_int_equal(wsb_server_set(server, (const char *[]){"echo=true", NULL}, why, sizeof why), 0);
    assert_true(wsb_server_set(server, (const char *[]){"port=1", NULL}, why, sizeof why) < 0);
    assert_non_null(strstr(why, "port"));
    assert_true(wsb_server_set(server, (const char *[]){"feed_size=47", NULL}, why, sizeof why) < 0);
    assert_non_null(strstr(why, "feed_size"));
}

static void check_no_server(const char *setting, const char *named)
{
    assert_null(wsb_server_new(loop, (const char *[]){setting, NULL}, why, sizeof why));
    if (strstr(why, named) == NULL)
        fail_msg("'%s' does not name %s", why, named);
}

static void servers_that_cannot_be(void **state)
{
    (void)state;
    char port[32];
    check_no_server("prot=1", "prot");
    check_no_server("port=65536", "65536");
    check_no_server("host=nonsense", "nonsense");
    check_no_server("feed_size=1", "feed_size");
    serve(NULL);
    snprintf(port, sizeof port, "port=%u", wsb_server_port(server));
    check_no_server(port, port + 5);
}

static void check_no_swarm(const char *first, const char *second, const char *named)
{
    assert_null(wsb_swarm_new(loop, (const char *[]){first, second, NULL}, NULL, why, sizeof why));
    if (strstr(why, named) == NULL)
        fail_msg("'%s' does not name %s", why, named);
}

static void swarms_that_cannot_be(void **state)
{
    (void)state;
    check_no_swarm(NULL, NULL, "url");
    check_no_swarm("url=http://host/", NULL, "http://host/");
    check_no_swarm("url=ws://127.0.0.1:1/", "clients=0", "clients");
    check_no_swarm("url=ws://127.0.0.1:1/", "connect_rate=0", "connect_rate");
    check_no_swarm("url=ws://127.0.0.1:1/", "publish_size=1", "publish_size");
}

static void a_swarm_that_finds_nobody(void **state)
{
    (void)state;
    serve(NULL);
    uint16_t port = wsb_server_port(server);
    wsb_server_free(server);
    server = NULL;
    uint64_t before = count("clients_failed");
    bring_swarm(port);
    assert_int_equal(failed - before, 5);
}

static void options_can_be_listed(void **state)
{
    (void)state;
    struct wsb_option o;
    size_t i = 0;
    bool found = false;
    for (; wsb_options("server", i, &o); i++)
        if (strcmp(o.name, "on_overflow") == 0)
            found = strcmp(o.type, "choice") == 0 && strstr(o.choices, "drop-oldest") != NULL && o.live;
    assert_true(found && i > 20);
    assert_true(wsb_options("swarm", 0, &o));
    assert_false(wsb_options("server", i + 1, &o));
    assert_false(wsb_options("nobody", 0, &o));
}

static void looking_things_up(void **state)
{
    (void)state;
    uint64_t value = 7;
    assert_false(wsb_count("no_such_counter", &value));
    assert_int_equal(value, 7);
    assert_true(strlen(wsb_version()) >= 5);
    assert_string_equal(wsb_error_text(1), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_server_and_a_swarm_on_one_loop),
        TEST(publishing_reaches_every_subscriber),
        TEST(the_schedule_is_carried_out_to_the_end),
        TEST(a_drain_lets_everybody_go),
        TEST(a_long_drain_leaves_most_open),
        TEST(a_server_may_be_freed_in_done),
        TEST(a_stop_of_nobody_is_done_too),
        TEST(freed_with_everybody_connected),
        TEST(a_freed_swarm_has_no_clients),
        TEST(live_options_change_all_or_none),
        TEST(servers_that_cannot_be),
        TEST(swarms_that_cannot_be),
        TEST(a_swarm_that_finds_nobody),
        TEST(options_can_be_listed),
        TEST(looking_things_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
