/* Routing by slot, against a cluster of three masters and a replica, and against a single server. */
#include "peer/redis_cluster.h"

#include "base/count.h"
#include "base/err.h"
#include "redis_lab.h"
#include "wire/redis_slot.h"

enum { MASTERS = 3, NODES = 4 };

static struct server server[NODES];
static struct redis *at[NODES]; /* a link of the test's own to each */
static char id[NODES][64];
static struct ear ear, quiet;
static struct redis_cluster *cluster;

static struct redis_options options_of(int i, struct ear *e)
{
    struct redis_options o = {.owner = e, .events = ear_events};
    snprintf(o.url.host, sizeof o.url.host, "127.0.0.1");
    o.url.port = server[i].port;
    return o;
}

static void open_cluster(int i)
{
    struct redis_options o = options_of(i, &ear);
    ear = (struct ear){0};
    cluster = redis_cluster_new(loop, &o);
    WAIT(ear.ups == 1);
    assert_true(redis_cluster_up(cluster));
    assert_int_equal(ear.downs, 0);
}

static struct answer asked(const char *key, int argc, const char **argv)
{
    struct answer a = {0};
    struct slice k = {key, key != NULL ? strlen(key) : 0};
    assert_int_equal(redis_cluster_command(cluster, k, on_answer, &a, argc, argv, NULL), 0);
    WAIT(a.count == 1);
    assert_int_equal(a.lost, 0);
    return a;
}

static void set_up_node(int i)
{
    server[i] = (struct server){.extra = {"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
                                          "--repl-diskless-sync-delay", "0"}};
    lab_start(&server[i]);
    struct redis_options o = options_of(i, &quiet);
    at[i] = redis_new(loop, &o);
    WAIT(redis_state(at[i]) == REDIS_UP);
    struct answer a = said(at[i], WORDS("CLUSTER", "MYID"));
    snprintf(id[i], sizeof id[i], "%.40s", a.text);
}

static bool agreed(int i)
{
    struct answer a = said(at[i], WORDS("CLUSTER", "INFO"));
    return strstr(a.text, "cluster_state:ok") != NULL && strstr(a.text, "cluster_known_nodes:4") != NULL;
}

static int set_up(void **state)
{
    static const char *const first[] = {"0", "5461", "10923"}, *const last[] = {"5460", "10922", "16383"};
    (void)state;
    alarm(120);
    lab_loop();
    if (!lab_has("redis-server"))
        return 0;
    for (int i = 0; i < NODES; i++)
        set_up_node(i);
    for (int i = 0; i < MASTERS; i++)
        said(at[i], WORDS("CLUSTER", "ADDSLOTSRANGE", first[i], last[i]));
    for (int i = 1; i < NODES; i++) {
        char port[16], bus[16];
        snprintf(port, sizeof port, "%u", server[i].port);
        snprintf(bus, sizeof bus, "%u", server[i].bus);
        said(at[0], WORDS("CLUSTER", "MEET", "127.0.0.1", port, bus));
    }
    for (int i = 0; i < NODES; i++)
        WAIT(agreed(i));
    WAIT(said(at[3], WORDS("CLUSTER", "REPLICATE", id[0])).type == REDIS_REPLY_STATUS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_cluster_free(cluster);
    cluster = NULL;
    for (int i = 0; i < NODES; i++) {
        redis_free(at[i]);
        at[i] = NULL;
    }
    lab_loop_free();
    for (int i = 0; i < NODES; i++)
        lab_kill(&server[i]);
    assert_int_equal(count_get(COUNT_redis_pending_bytes), 0);
    assert_int_equal(count_get(COUNT_redis_links_up), 0);
    return 0;
}

static int set_up_single(void **state)
{
    (void)state;
    alarm(120);
    lab_loop();
    server[0] = (struct server){0};
    if (lab_has("redis-server"))
        lab_start(&server[0]);
    return 0;
}

static void a_single_server_has_all_slots(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_cluster(0);
    redis_cluster_subscribe(cluster, SLICE("c"), false);
    redis_cluster_subscribe(cluster, SLICE("s"), true);
    WAIT(ear.subscribed == 2);
    assert_string_equal(asked("a", WORDS("SET", "a", "1")).text, "OK");
    assert_int_equal(asked(NULL, WORDS("PUBLISH", "c", "x")).integer, 1);
    assert_int_equal(asked("s", WORDS("SPUBLISH", "s", "y")).integer, 1);
    WAIT(ear.messages == 2);
    lab_kill(&server[0]);
    WAIT(ear.downs > 0);
    assert_int_equal(ear.unsubscribed, 2);
    assert_int_equal(redis_cluster_command(cluster, SLICE("a"), NULL, NULL, WORDS("GET", "a"), NULL),
                     ERR_CLOSED);
    lab_start(&server[0]);
    WAIT(ear.ups == 2 && ear.subscribed == 4);
    assert_true(ear.down_ns > 0);
}

static void keys_go_to_the_node_of_their_slot(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_cluster(1);
    char key[16];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_string_equal(asked(key, WORDS("SET", key, key)).text, "OK");
    }
    long long sum = 0;
    for (int i = 0; i < MASTERS; i++) {
        long long size = said(at[i], WORDS("DBSIZE")).integer;
        assert_true(size > 50);
        sum += size;
    }
    assert_int_equal(sum, 300);
    assert_string_equal(asked("k7", WORDS("GET", "k7")).text, "k7");
}

static void channels_are_heard_wherever_they_are(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_cluster(2);
    for (int i = 0; i < 60; i++) {
        char name[16];
        int size = snprintf(name, sizeof name, "c%d", i);
        redis_cluster_subscribe(cluster, (struct slice){name, (size_t)size}, true);
    }
    redis_cluster_subscribe(cluster, SLICE("news"), false);
    WAIT(ear.subscribed == 61);
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        assert_int_equal(asked(name, WORDS("SPUBLISH", name, "x")).integer, 1);
    }
    WAIT(ear.messages == 60);
    for (int i = 0; i < MASTERS; i++)
        said(at[i], WORDS("PUBLISH", "news", "y"));
    WAIT(ear.messages == 63);
    redis_cluster_unsubscribe(cluster, SLICE("c5"), true);
    asked("c5", WORDS("SPUBLISH", "c5", "x"));
    asked("c6", WORDS("SPUBLISH", "c6", "x"));
    WAIT(ear.messages == 64);
    assert_string_equal(ear.channel, "c6");
}

static long long heard_at(int i)
{
    return said(at[i], WORDS("PUBLISH", "news", "x")).integer; /* a cluster's node counts its own clients */
}

static void a_channel_leaves_no_trace_where_it_was(void **state)
{
    (void)state;
    NEEDS_REDIS();
    int home = 0;
    open_cluster(0);
    redis_cluster_subscribe(cluster, SLICE("news"), false);
    WAIT(ear.subscribed == 1);
    while (heard_at(home) == 0)
        assert_true(++home < MASTERS);
    said(at[home], WORDS("CLIENT", "KILL", "TYPE", "normal"));
    WAIT(ear.unsubscribed == 1 && ear.subscribed == 2 && ear.ups == 2);
    WAIT(heard_at(home) == 0);
    long long elsewhere = 0;
    for (int i = 0; i < MASTERS; i++)
        elsewhere += heard_at(i);
    assert_int_equal(elsewhere, 1);
}

/* By hand, as redis-cli does it: with the key gone and the slot not yet given, the old node says -ASK. */
static void a_slot_that_moves_is_followed(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char slot[16], port[16];
    open_cluster(0);
    snprintf(slot, sizeof slot, "%u", redis_slot(SLICE("{a}x"))); /* 15495: the third node's */
    snprintf(port, sizeof port, "%u", server[0].port);
    asked("{a}x", WORDS("SET", "{a}x", "1"));
    redis_cluster_subscribe(cluster, SLICE("{a}c"), true);
    WAIT(ear.subscribed == 1);

    said(at[0], WORDS("CLUSTER", "SETSLOT", slot, "IMPORTING", id[2]));
    said(at[2], WORDS("CLUSTER", "SETSLOT", slot, "MIGRATING", id[0]));
    said(at[2], WORDS("MIGRATE", "127.0.0.1", port, "{a}x", "0", "1000"));
    assert_memory_equal(said(at[2], WORDS("GET", "{a}x")).text, "ASK ", 4);
    assert_string_equal(asked("{a}x", WORDS("GET", "{a}x")).text, "1");

    said(at[0], WORDS("CLUSTER", "SETSLOT", slot, "NODE", id[0]));
    said(at[2], WORDS("CLUSTER", "SETSLOT", slot, "NODE", id[0]));
    assert_memory_equal(said(at[2], WORDS("GET", "{a}x")).text, "MOVED ", 6);
    assert_string_equal(asked("{a}x", WORDS("GET", "{a}x")).text, "1");
    WAIT(ear.subscribed == 2);
    assert_int_equal(ear.unsubscribed, 1);
    assert_int_equal(asked("{a}c", WORDS("SPUBLISH", "{a}c", "x")).integer, 1);
    WAIT(ear.messages == 1);
}

static void a_dead_nodes_replica_takes_over(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_cluster(0); /* begins at the one that dies */
    char key[16] = "";
    for (int i = 0; redis_slot((struct slice){key, strlen(key)}) > 5460 || *key == '\0'; i++)
        snprintf(key, sizeof key, "k%d", i);
    asked(key, WORDS("SET", key, "1"));
    /* By the same connection: it waits for what that has written. */
    assert_int_equal(asked(key, WORDS("WAIT", "1", "10000")).integer, 1);
    redis_cluster_subscribe(cluster, (struct slice){key, strlen(key)}, true);
    redis_cluster_subscribe(cluster, SLICE("news"), false);
    WAIT(ear.subscribed == 2);
    lab_kill(&server[0]);
    WAIT(ear.downs > 0);
    assert_false(redis_cluster_up(cluster));
    WAIT_FOR(ear.ups == 2 && ear.subscribed >= 4, 30);
    assert_string_equal(asked(key, WORDS("GET", key)).text, "1");
    assert_int_equal(asked(key, WORDS("SPUBLISH", key, "x")).integer, 1);
    said(at[1], WORDS("PUBLISH", "news", "y"));
    WAIT(ear.messages == 2);
}

static void freed_with_commands_under_way(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct answer a = {0};
    open_cluster(0);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(redis_cluster_command(cluster, (struct slice){key, strlen(key)}, on_answer, &a,
                                               WORDS("GET", key), NULL),
                         0);
    }
    assert_true(redis_cluster_pending_bytes(cluster) > 0);
    redis_cluster_free(cluster);
    cluster = NULL;
    assert_int_equal(a.lost, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_single_server_has_all_slots, set_up_single, tear_down),
        cmocka_unit_test_setup_teardown(keys_go_to_the_node_of_their_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(channels_are_heard_wherever_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_channel_leaves_no_trace_where_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slot_that_moves_is_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_nodes_replica_takes_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(freed_with_commands_under_way, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
