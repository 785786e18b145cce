/* Who is known again by its server, and what is read from Redis when it is not. */
#include "role/session.h"

#include "base/count.h"
#include "redis_lab.h"

static struct server server;
static struct session_table *table;
static struct session_owner owner;
static struct redis *asking;

/* What the last one that came in was told. */
static struct {
    unsigned count;
    char topic[32], text[200], rest[16];
    int turned_away;
} came;

static void on_enter(struct session_owner *o, const struct ws_start *start, struct slice text)
{
    assert_ptr_equal(o, &owner);
    came.count++;
    snprintf(came.topic, sizeof came.topic, "%.*s", (int)start->topic.size, start->topic.at);
    snprintf(came.text, sizeof came.text, "%.*s", (int)text.size, text.at);
    snprintf(came.rest, sizeof came.rest, "%.*s", (int)start->rest_size, (const char *)start->rest);
    came.turned_away = start->turned_away;
    struct message first = {.kind = MESSAGE_TEXT, .at = (uint8_t *)came.text, .size = text.size};
    assert_true(session_told(&first));
}

static void open_table(uint64_t most)
{
    char url[128], why[128];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", server.port);
    struct session_options options = {.redis = url, .prefix = "t", .size = 8, .most = most};
    owner.enter = on_enter;
    table = session_table_new(loop, &owner, &options, why, sizeof why);
    assert_non_null(table);
    struct redis_options redis = {.owner = NULL};
    assert_int_equal(redis_url_parse(url, &redis.url, why, sizeof why), 0);
    asking = redis_new(loop, &redis);
    WAIT(redis_state(asking) == REDIS_UP);
}

static const char *enter(const char *query)
{
    char topic[] = "/feed", rest[] = "rest";
    struct ws_start start = {
        .stream = {.fd = -1}, .topic = {topic, 5}, .rest = (uint8_t *)rest, .rest_size = 4};
    unsigned before = came.count;
    assert_true(session_enter(table, &start, (struct slice){query, strlen(query)}));
    memset(topic, 'x', 5); /* what it was given dies with the call */
    memset(rest, 'x', 4);
    WAIT(came.count == before + 1);
    assert_string_equal(came.topic, "/feed");
    assert_string_equal(came.rest, "rest");
    return came.text;
}

#define HELD          "{\"wsb\":\"session\",\"held\":true}"
#define REBUILT(text) "{\"wsb\":\"session\",\"held\":false,\"state\":\"" text "\"}"

static int set_up(void **state)
{
    (void)state;
    alarm(60);
    lab_loop();
    memset(&came, 0, sizeof came);
    server = (struct server){0};
    if (lab_has("redis-server"))
        lab_start(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    session_table_free(table);
    redis_free(asking);
    table = NULL;
    asking = NULL;
    if (server.pid > 0)
        lab_kill(&server);
    lab_loop_free();
    alarm(0);
    return 0;
}

static void who_comes_back_is_held(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    uint64_t rebuilt = count_get(COUNT_session_bytes_rebuilt), held = count_get(COUNT_sessions_held);
    assert_string_equal(enter("client=ab&visit=1"), REBUILT("abababab"));
    assert_string_equal(enter("x=y&client=ab&visit=2"), HELD);
    assert_string_equal(enter("client=ab&visit=2"), HELD); /* cut before it knew of it */
    assert_int_equal(count_get(COUNT_session_bytes_rebuilt) - rebuilt, 8);
    assert_int_equal(count_get(COUNT_sessions_held) - held, 2);
}

static void who_was_elsewhere_is_read_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    enter("client=ab&visit=1");
    assert_string_equal(said(asking, WORDS("GET", "t:session:ab")).text, "abababab");
    said(asking, WORDS("SET", "t:session:ab", "changed"));
    assert_string_equal(enter("client=ab&visit=3"), REBUILT("changed"));
    assert_string_equal(enter("client=ab&visit=4"), HELD);
    assert_string_equal(enter("client=ab&visit=1"), REBUILT("changed"));
}

static void without_visits_it_is_held_for_good(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    assert_string_equal(enter("client=ab"), REBUILT("abababab"));
    assert_string_equal(enter("client=ab"), HELD);
    assert_string_equal(enter("client=ab&visit=x"), HELD);
}

static void those_used_last_are_kept(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(3);
    enter("client=a");
    enter("client=b");
    enter("client=c");
    assert_string_equal(enter("client=a"), HELD);
    enter("client=d"); /* in place of b */
    assert_string_equal(enter("client=a"), HELD);
    assert_string_equal(enter("client=c"), HELD);
    assert_string_equal(enter("client=b"), REBUILT("bbbbbbbb"));
}

static void what_is_no_text_is_not_sent(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    said(asking, WORDS("SET", "t:session:ab", "a\"b"));
    assert_string_equal(enter("client=ab"), "{\"wsb\":\"session\",\"held\":false}");
    said(asking, WORDS("DEL", "t:session:ab"));
    said(asking, WORDS("RPUSH", "t:session:ab", "x"));
    assert_string_equal(enter("client=ab"), "{\"wsb\":\"session\",\"held\":false}");
}

static void nobody_in_particular_is_not_taken(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    char longest[200] = "client=";
    struct ws_start start = {.stream = {.fd = -1}, .topic = SLICE("/feed")};
    memset(longest + 7, 'x', SESSION_ID_MAX + 1);
    assert_false(session_enter(table, &start, SLICE("")));
    assert_false(session_enter(table, &start, SLICE("client=&visit=1")));
    assert_false(session_enter(table, &start, SLICE("client=a/b")));
    assert_false(session_enter(table, &start, (struct slice){longest, strlen(longest)}));
    start.turned_away = -1;
    assert_false(session_enter(table, &start, SLICE("client=a")));
}

static void without_redis_it_comes_in_all_the_same(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    enter("client=ab");
    lab_kill(&server);
    WAIT(redis_state(asking) != REDIS_UP);
    uint64_t failed = count_get(COUNT_sessions_failed);
    assert_string_equal(enter("client=cd"), "{\"wsb\":\"session\",\"held\":false}");
    assert_int_equal(count_get(COUNT_sessions_failed) - failed, 1);
    assert_string_equal(enter("client=ab"), HELD);
}

static void a_redis_that_is_not_there_is_not_waited_for(void **state)
{
    (void)state;
    NEEDS_REDIS();
    open_table(10);
    session_table_free(table);
    lab_kill(&server);
    char url[128], why[128];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", server.port);
    struct session_options options = {.redis = url, .prefix = "t", .size = 8, .most = 1};
    table = session_table_new(loop, &owner, &options, why, sizeof why);
    assert_string_equal(enter("client=ab"), "{\"wsb\":\"session\",\"held\":false}");
    assert_true(session_none_waiting(table));
}

static void who_waits_is_turned_away_or_dropped(void **state)
{
    (void)state;
    NEEDS_REDIS();
    int ends[2];
    char byte;
    open_table(10);
    struct ws_start start = {.stream = {.fd = -1}, .topic = SLICE("/feed")};
    unsigned before = came.count;
    session_enter(table, &start, SLICE("client=ab"));
    assert_false(session_none_waiting(table));
    session_turn_away(table, -7);
    WAIT(session_none_waiting(table));
    assert_int_equal(came.turned_away, -7);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    start.stream.fd = ends[0];
    session_enter(table, &start, SLICE("client=cd"));
    session_table_free(table);
    table = NULL;
    assert_int_equal(read(ends[1], &byte, 1), 0);
    assert_int_equal(came.count, before + 1);
    close(ends[1]);
}

static void what_is_wrong_with_the_url_is_said(void **state)
{
    (void)state;
    char why[128] = "";
    struct session_options options = {.redis = "http://x", .prefix = "t", .size = 8, .most = 1};
    assert_null(session_table_new(loop, &owner, &options, why, sizeof why));
    assert_non_null(strstr(why, "redis"));
    options.redis = "rediss://127.0.0.1";
    assert_null(session_table_new(loop, &owner, &options, why, sizeof why));
    assert_non_null(strstr(why, "not accepted for sessions"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_comes_back_is_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_was_elsewhere_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_visits_it_is_held_for_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_used_last_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_text_is_not_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_in_particular_is_not_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_redis_it_comes_in_all_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_redis_that_is_not_there_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_is_turned_away_or_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_the_url_is_said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
