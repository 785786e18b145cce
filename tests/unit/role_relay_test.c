/* A server with a history, in this process, and a real Redis that others meddle with. */
#include "relay_lab.h"

/* Masked, of zeros: "hi", and a Close. */
static const char hi[] = "\x81\x82\0\0\0\0hi", bye[] = "\x88\x80\0\0\0\0";

/* To a topic that nothing has been published to. */
static void come_first(struct end *e, const char *target)
{
    come(e, target, "", 0);
    assert_string_equal(recovered(e), "true 0");
}

/* To /a, where `one` is, and waits until it has had all. */
static void publish_old(int messages)
{
    for (int i = 0; i < messages; i++)
        wsb_server_publish(wsb, "/a", "old", 3);
    for (int i = 0; i < messages; i++)
        body(&one);
}

static void who_speaks_with_its_request_is_let_in(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", "echo=true", NULL});
    come_first(&one, "/a");
    come(&two, "/a?acks=1", hi, sizeof hi - 1);
    WAIT_FOR(hear(&two), 5);
    publish("/a", "there");
    bool told = false, heard = false;
    for (int i = 0; i < 3 && !heard; i++) {
        told |= strstr(two.text, "recovered") != NULL;
        heard |= strstr(next(&two), "there") != NULL;
    }
    assert_true(told && heard);
}

static void who_speaks_and_leaves_with_its_request_is_gone(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char more[sizeof hi + sizeof bye];
    memcpy(more, hi, sizeof hi - 1);
    memcpy(more + sizeof hi - 1, bye, sizeof bye - 1);
    serve((const char *[]){"history=10", "echo=true", NULL});
    come_first(&one, "/a");
    uint64_t stored = count_of("relay_published");
    come(&two, "/a?acks=1", more, sizeof hi + sizeof bye - 2);
    WAIT_FOR(count_of("relay_published") > stored && count_of("connections_open") == 1, 5);
    publish("/a", "after");
    assert_string_equal(body(&one), "hi");
    assert_string_equal(body(&one), "after");
}

static void garbage_on_the_channel_does_not_stop_it(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static const char *const garbage[] = {"",
                                          "x",
                                          "\n",
                                          "x\n",
                                          "01234567:0 t 0.0\nx",
                                          "01234567:99999999999999999999 t 0.0\nx",
                                          "01234567:99 t 0.0\nx",
                                          "01234567:18446744073709551615 t 0.0\nx",
                                          "01234567:99 t ",
                                          "01234567:99 t\n"};
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        said(asking, WORDS("PUBLISH", "t:{/a}", garbage[i]));
    publish("/a", "first");
    assert_string_equal(body(&one), "first");
    uint64_t commands = count_of("redis_commands");
    redo(&two, "/a", 0);
    assert_string_equal(recovered(&two), "true 1");
    assert_string_equal(body(&two), "first");
    publish("/a", "second");
    assert_string_equal(body(&two), "second");
    assert_true(count_of("redis_commands") - commands < 20);
}

static void garbage_on_the_channel_is_no_gap(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static const char *const garbage[] = {"\n",
                                          "0000000a\n",
                                          "0000000a 1\n",
                                          "0000000a 0 t\nx",
                                          "0000000a -1 -\n",
                                          "0000000a 99999999999999999999 -\n",
                                          "0000000a 3 x\nx"};
    serve((const char *[]){NULL});
    come(&one, "/a", "", 0);
    WAIT(count_of("connections_open") == 1);
    while (said(asking, WORDS("PUBLISH", "t:{/a}", "0000000a 1 t\n1")).integer == 0)
        ;
    assert_string_equal(next(&one), "1");
    uint64_t missed = count_of("relay_missed");
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        said(asking, WORDS("PUBLISH", "t:{/a}", garbage[i]));
    said(asking, WORDS("PUBLISH", "t:{/a}", "0000000a 2 t\n2"));
    assert_string_equal(next(&one), "2");
    said(asking, WORDS("PUBLISH", "t:{/a}", "0000000a 4 t\n4"));
    assert_string_equal(next(&one), "{\"wsb\":\"gap\",\"dropped\":1         }");
    assert_string_equal(next(&one), "4");
    assert_int_equal(count_of("relay_missed") - missed, 1);
}

static void a_late_message_of_an_old_epoch_does_not_stop_it(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char late[64];
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    publish("/a", "old");
    assert_string_equal(body(&one), "old");
    snprintf(late, sizeof late, "%s:50 t 0.0\nlate", epoch);
    said(asking, WORDS("FLUSHALL"));
    publish("/a", "new");
    assert_string_equal(recovered(&one), "false 0");
    assert_string_equal(body(&one), "new");
    said(asking, WORDS("PUBLISH", "t:{/a}", late));
    publish("/a", "newer");
    assert_string_equal(body(&one), "newer");
    redo(&two, "/a", 1);
    assert_string_equal(recovered(&two), "true 2");
}

static void a_history_that_went_back_is_told(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    publish("/a", "1");
    publish("/a", "2");
    publish("/a", "3");
    for (int i = 0; i < 3; i++)
        body(&one);
    said(asking, WORDS("HSET", "t:{/a}:meta", "offset", "1")); /* as one restored from an older file */
    said(asking, WORDS("DEL", "t:{/a}:log"));
    said(asking, WORDS("CLIENT", "KILL", "TYPE", "pubsub"));
    assert_string_equal(recovered(&one), "false 1");
    publish("/a", "another 2");
    assert_string_equal(body(&one), "another 2");
}

static void foreign_entries_do_not_stop_it(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", NULL});
    said(asking, WORDS("HSET", "t:{/a}:meta", "epoch", "01234567", "offset", "3"));
    said(asking, WORDS("XADD", "t:{/a}:log", "1-0", "k", "t", "m", "one"));
    said(asking, WORDS("XADD", "t:{/a}:log", "2-0", "odd", "one"));
    said(asking, WORDS("XADD", "t:{/a}:log", "3-0", "odd", "two"));
    snprintf(epoch, sizeof epoch, "01234567");
    redo(&one, "/a", 0);
    assert_string_equal(recovered(&one), "true 3");
    assert_string_equal(body(&one), "one");
    assert_string_equal(recovered(&one), "false 3");
    publish("/a", "four");
    assert_string_equal(body(&one), "four");
    /* The link is lost, what comes then cannot be read. */
    said(asking, WORDS("HSET", "t:{/a}:meta", "offset", "5"));
    said(asking, WORDS("XADD", "t:{/a}:log", "5-0", "odd", "three"));
    said(asking, WORDS("CLIENT", "KILL", "TYPE", "pubsub"));
    assert_string_equal(recovered(&one), "false 5");
    said(asking, WORDS("XADD", "t:{/a}:log", "999999-0", "k", "t", "m", "foreign"));
    said(asking, WORDS("CLIENT", "KILL", "TYPE", "pubsub"));
    said(asking, WORDS("PUBLISH", "t:{/a}", "01234567:6 t 0.0\nsix"));
    said(asking, WORDS("DEL", "t:{/a}:log"));
    publish("/a", "another");
    assert_non_null(strstr(body(&one), "")); /* six or another: it goes on */
}

static void a_history_of_another_shape_is_survived(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static const char *const broken[] = {"", "x", "0123456789abcdef0123456789abcdef"};
    serve((const char *[]){"history=10", NULL});
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        said(asking, WORDS("HSET", "t:{/a}:meta", "epoch", broken[i]));
        come(&one, "/a?acks=1", "", 0);
        recovered(&one); /* of a history that cannot be read nothing is known, but it comes in */
        say(&one, "mine");
        while (strstr(next(&one), "\"nack\"") == NULL)
            ;
        leave(&one);
    }
    said(asking, WORDS("HDEL", "t:{/a}:meta", "offset"));
    said(asking, WORDS("HSET", "t:{/a}:meta", "epoch", "01234567"));
    come(&one, "/a", "", 0);
    recovered(&one);
    leave(&one);
    said(asking, WORDS("DEL", "t:{/a}:meta"));
    come(&one, "/a?acks=1", "", 0);
    recovered(&one);
    say(&one, "mine");
    while (strstr(next(&one), "\"ack\"") == NULL)
        ;
}

static void a_replay_larger_than_the_mark_comes_whole(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char text[900], policy[32];
    static const char *const policies[] = {"close", "drop-newest", "drop-oldest", "conflate"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        char topic[8];
        snprintf(topic, sizeof topic, "/%zu", i);
        snprintf(policy, sizeof policy, "on_overflow=%s", policies[i]);
        wsb_server_free(wsb);
        serve((const char *[]){"history=300", "high_water_mark=16KiB", policy, NULL});
        come_first(&one, topic);
        for (unsigned n = 1; n <= 200; n++) {
            snprintf(text, sizeof text, "%u%*s", n, 800, "");
            publish(topic, text);
            assert_int_equal(strtoul(body(&one), NULL, 10), n);
        }
        redo(&two, topic, 0);
        assert_string_equal(recovered(&two), "true 200");
        for (unsigned n = 1; n <= 200; n++)
            assert_int_equal(strtoul(body(&two), NULL, 10), n);
        leave(&one);
        leave(&two);
    }
}

static void who_is_overtaken_while_it_replays_is_told(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=300", "replay_rate=200/s", NULL});
    come_first(&one, "/a");
    publish_old(300);
    redo(&two, "/a", 0);
    assert_string_equal(recovered(&two), "true 300");
    assert_string_equal(body(&two), "old");
    for (int i = 0; i < 400; i++)
        wsb_server_publish(wsb, "/a", "new", 3);
    for (int i = 1; i < 256; i++)
        assert_string_equal(body(&two), "old");
    assert_string_equal(recovered(&two), "false 700");
    publish("/a", "last");
    assert_string_equal(body(&two), "last");
}

static void a_replay_that_could_not_be_read_is_read_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    publish("/a", "1");
    publish("/a", "2");
    said(asking, WORDS("RENAME", "t:{/a}:log", "elsewhere"));
    said(asking, WORDS("SET", "t:{/a}:log", "x"));
    uint64_t errors = count_of("redis_errors");
    redo(&two, "/a", 1);
    WAIT_FOR(count_of("redis_errors") > errors, 5);
    said(asking, WORDS("RENAME", "elsewhere", "t:{/a}:log"));
    assert_string_equal(recovered(&two), "true 2");
    assert_string_equal(body(&two), "2");
}

static void what_it_has_is_understood_or_refused(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static const char *const wrong[] = {"%s?since=%s",
                                        "%s?since=%s:",
                                        "%s?since=%s:-1",
                                        "%s?since=%s:99999999999999999999",
                                        "%s?since=%s:18446744073709551615",
                                        "%s?since=x%s"};
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    publish("/a", "1");
    publish("/a", "2");
    body(&one);
    body(&one);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char target[128];
        snprintf(target, sizeof target, wrong[i], "/a", epoch);
        come(&two, target, "", 0);
        assert_string_equal(recovered(&two), "false 2");
        leave(&two);
    }
    come(&two, since("%s?since=%s%%3A%u", "/a", 1), "", 0);
    assert_string_equal(recovered(&two), "true 2");
    assert_string_equal(body(&two), "2");
    leave(&two);
    come(&two, "/a?since=", "", 0);
    assert_string_equal(recovered(&two), "true 2");
}

/* More than may wait for Redis at all. */
static void say_too_much(struct end *e)
{
    enum { SIZE = 9 << 20, HEAD = 14 };
    uint8_t *frame = mem_zero(SIZE + HEAD);
    frame[0] = 0x82;
    frame[1] = 0x80 | 127;
    put_u64(frame + 2, SIZE);
    for (size_t sent = 0; sent < SIZE + HEAD; ev_run(ev, EVRUN_ONCE)) {
        ssize_t size = send(e->fd, frame + sent, SIZE + HEAD - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += size > 0 ? (size_t)size : 0;
    }
    free(frame);
}

static void who_is_ahead_of_the_server_goes_on(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    publish("/a", "1");
    body(&one);
    said(asking, WORDS("HSET", "t:{/a}:meta", "offset", "2")); /* it has not heard of this one yet */
    said(asking, WORDS("XADD", "t:{/a}:log", "2-0", "k", "t", "m", "2"));
    redo(&two, "/a", 2);
    assert_string_equal(recovered(&two), "true 1");
    publish("/a", "3");
    assert_string_equal(body(&one), "2");
    assert_string_equal(body(&one), "3");
    assert_string_equal(body(&two), "3");
}

static void answers_come_in_order(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=10", "max_message=16MiB", NULL});
    come_first(&one, "/a?acks=1");
    kill(server.pid, SIGSTOP);
    say(&one, "one");
    say_too_much(&one);
    say_too_much(&one);
    uint64_t unstored = count_of("relay_unstored");
    say_too_much(&one);
    WAIT_FOR(count_of("relay_unstored") > unstored, 5);
    kill(server.pid, SIGCONT);
    say(&one, "last");
    assert_non_null(strstr(next(&one), "\"ack\",\"n\":1,"));
    assert_non_null(strstr(next(&one), "\"nack\",\"n\":2}"));
    assert_non_null(strstr(next(&one), "\"nack\",\"n\":3}"));
    assert_non_null(strstr(next(&one), "\"nack\",\"n\":4}"));
    assert_non_null(strstr(next(&one), "\"ack\",\"n\":5,"));
}

static void what_waits_for_an_answer_is_bounded(void **state)
{
    (void)state;
    NEEDS_REDIS();
    enum { SIZE = 1 << 20, MANY = 100 };
    char *text = mem_zero(SIZE);
    memset(text, 'x', SIZE);
    serve((const char *[]){"history=10", NULL});
    come_first(&one, "/a");
    said(asking, WORDS("CLIENT", "PAUSE", "3000", "ALL"));
    uint64_t unstored = count_of("relay_unstored");
    int taken = 0;
    while (taken < MANY && count_of("relay_unstored") == unstored) {
        wsb_server_publish(wsb, "/b", text, SIZE);
        for (int i = 0; i < 20; i++)
            ev_run(ev, EVRUN_NOWAIT);
        taken++;
    }
    free(text);
    assert_true(taken < MANY);
}

static void topics_may_have_odd_names(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char longest[2048] = "/";
    memset(longest + 1, 'x', sizeof longest - 2);
    const char *names[] = {"/a}b", "/{}", "/}", "/{a}:meta", "/%00", "/%s%n", "//:log", longest};
    serve((const char *[]){"history=10", NULL});
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        come_first(&one, names[i]);
        publish(names[i], "1");
        assert_string_equal(body(&one), "1");
        leave(&one);
    }
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void it_stops_while_it_replays(void **state)
{
    (void)state;
    NEEDS_REDIS();
    bool done = false;
    serve((const char *[]){"history=300", "replay_rate=200/s", "evict_grace=200ms", NULL});
    come_first(&one, "/a?acks=1");
    publish_old(300);
    redo(&two, "/a", 0);
    assert_string_equal(recovered(&two), "true 300");
    say(&one, "mine");
    kill(server.pid, SIGSTOP);
    redo(&three, "/a", 10); /* what it asks for is not answered any more */
    WAIT_FOR(count_of("connections_open") == 3, 5);
    wsb_server_stop(wsb, set_flag, &done);
    WAIT_FOR(done, 5);
    kill(server.pid, SIGCONT);
    for (int i = 0; i < 20; i++)
        ev_run(ev, EVRUN_ONCE);
}

static void who_waits_while_redis_goes_comes_in(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=300", "replay_rate=200/s", NULL});
    come_first(&one, "/a");
    publish_old(300);
    redo(&two, "/a", 0);
    assert_string_equal(recovered(&two), "true 300");
    for (int i = 0; i < 256; i++)
        assert_string_equal(body(&two), "old");
    assert_int_equal(count_of("relay_behind"), 0);
    lab_kill(&server);
    redo(&three, "/a", 0);
    recovered(&three); /* that it cannot have what it missed */
    assert_int_equal(count_of("relay_behind"), 1);
    lab_start(&server); /* empty */
    WAIT_FOR(hear(&three), 10);
    publish("/a", "anew");
    while (strstr(three.text, "anew") == NULL)
        next(&three);
    while (strstr(two.text, "anew") == NULL)
        next(&two);
    assert_int_equal(count_of("relay_behind"), 0);
}

static void it_ends_with_everything_under_way(void **state)
{
    (void)state;
    NEEDS_REDIS();
    serve((const char *[]){"history=300", "replay_rate=200/s", NULL});
    come_first(&one, "/a?acks=1");
    publish_old(300);
    kill(server.pid, SIGSTOP);
    redo(&two, "/a", 0);
    say(&one, "mine");
    wsb_server_publish(wsb, "/a", "unanswered", 10);
    uint64_t commands = count_of("redis_commands");
    WAIT_FOR(count_of("connections_open") == 2 && count_of("redis_commands") > commands, 5);
    wsb_server_free(wsb);
    wsb = NULL;
    kill(server.pid, SIGCONT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_speaks_with_its_request_is_let_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_speaks_and_leaves_with_its_request_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_on_the_channel_does_not_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_on_the_channel_is_no_gap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_message_of_an_old_epoch_does_not_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_history_that_went_back_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_entries_do_not_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_history_of_another_shape_is_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_larger_than_the_mark_comes_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_overtaken_while_it_replays_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_that_could_not_be_read_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_it_has_is_understood_or_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_ahead_of_the_server_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_for_an_answer_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(topics_may_have_odd_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_stops_while_it_replays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_while_redis_goes_comes_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_ends_with_everything_under_way, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
