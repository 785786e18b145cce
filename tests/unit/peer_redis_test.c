/* The link to Redis against a real server: what it says, what it survives, what it refuses. */
#include "peer/redis.h"

#include "base/count.h"
#include "base/err.h"
#include "base/rng.h"
#include "net/tls.h"
#include "redis_lab.h"

static struct server server;

static struct redis_options options(struct ear *ear, bool subscriber)
{
    struct redis_options o = {.subscriber = subscriber, .owner = ear, .events = ear_events};
    snprintf(o.url.host, sizeof o.url.host, "127.0.0.1");
    o.url.port = server.port;
    return o;
}

static struct ear ear, other;
static struct redis *link_up(struct ear *e, bool subscriber)
{
    struct redis_options o = options(e, subscriber);
    *e = (struct ear){0};
    struct redis *r = redis_new(loop, &o);
    assert_int_equal(redis_state(r), REDIS_IDLE);
    WAIT(e->ups == 1);
    assert_int_equal(redis_state(r), REDIS_UP);
    return r;
}

static int set_up(void **state)
{
    (void)state;
    alarm(120);
    lab_loop();
    ear = other = (struct ear){0};
    if (!lab_has("redis-server"))
        return 0;
    lab_start(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lab_loop_free();
    lab_kill(&server);
    server = (struct server){0};
    assert_int_equal(count_get(COUNT_redis_pending_bytes), 0);
    assert_int_equal(count_get(COUNT_redis_links_up), 0);
    return 0;
}

static void commands_are_answered_in_their_order(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false);
    assert_string_equal(said(r, WORDS("SET", "a", "1")).text, "OK");
    assert_int_equal(said(r, WORDS("INCR", "a")).integer, 2);
    assert_string_equal(said(r, WORDS("CLIENT", "GETNAME")).text, "wsb");
    struct answer wrong = said(r, WORDS("EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"));
    assert_int_equal(wrong.type, REDIS_REPLY_ERROR);
    assert_memory_equal(wrong.text, "NOSCRIPT", 8);
    redis_free(r);
}

static int in_order;
static void on_counted(void *arg, const redisReply *reply)
{
    assert_non_null(reply);
    assert_int_equal(reply->integer, ++in_order);
    (void)arg;
}

static void ten_thousand_at_once(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false);
    in_order = 0;
    for (int i = 0; i < 10000; i++)
        assert_int_equal(redis_command(r, on_counted, NULL, WORDS("INCR", "n"), NULL), 0);
    WAIT(in_order == 10000);
    assert_int_equal(redis_pending_bytes(r), 0);
    redis_free(r);
}

static void payloads_are_bytes(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false), *sub = link_up(&other, true);
    const char *argv[] = {"PUBLISH", "c", "a\0b\r\n\xff"};
    const size_t size[] = {7, 1, 6};
    struct answer a = {0};
    redis_subscribe(sub, SLICE("c"), false);
    assert_int_equal(other.subscribed, 0);
    WAIT(other.subscribed == 1);
    assert_int_equal(redis_command(r, on_answer, &a, 3, argv, size), 0);
    WAIT(other.messages == 1 && a.count == 1);
    assert_int_equal(a.integer, 1);
    assert_string_equal(other.channel, "c");
    assert_int_equal(other.payload_size, 6);
    assert_memory_equal(other.payload, argv[2], 6);
    redis_free(r);
    redis_free(sub);
}

static void the_unix_socket_and_the_database(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *zero = link_up(&other, false);
    struct redis_options o = options(&ear, false);
    char text[160], why[128];
    snprintf(text, sizeof text, "unix://%s?db=3", server.socket);
    assert_int_equal(redis_url_parse(text, &o.url, why, sizeof why), 0);
    struct redis *r = redis_new(loop, &o);
    WAIT(ear.ups == 1);
    said(r, WORDS("SET", "only", "three"));
    assert_string_equal(said(r, WORDS("GET", "only")).text, "three");
    assert_int_equal(said(zero, WORDS("GET", "only")).type, REDIS_REPLY_NIL);
    redis_free(r);
    redis_free(zero);
}

static void a_wrong_password_is_a_reason_and_a_right_one_lets_in(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&other, false);
    said(r, WORDS("CONFIG", "SET", "requirepass", "s3cret"));
    struct redis_options o = options(&ear, false);
    struct redis *none = redis_new(loop, &o);
    WAIT(ear.downs == 1);
    assert_memory_equal(ear.reason, "NOAUTH", 6);
    redis_free(none);

    ear = (struct ear){0};
    snprintf(o.url.password, sizeof o.url.password, "wrong");
    struct redis *wrong = redis_new(loop, &o);
    WAIT(ear.downs == 1);
    assert_memory_equal(ear.reason, "AUTH: WRONGPASS", 15);
    assert_int_equal(redis_state(wrong), REDIS_DOWN);
    redis_free(wrong);

    ear = (struct ear){0};
    snprintf(o.url.password, sizeof o.url.password, "s3cret");
    struct redis *right = redis_new(loop, &o);
    WAIT(ear.ups == 1);
    redis_free(right);
    redis_free(r);
}

/* It was put off by 2.5 s at least. */
static void who_hears_that_it_is_up_hurries(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&other, false);
    said(r, WORDS("CONFIG", "SET", "requirepass", "s3cret"));
    struct redis_options o = options(&ear, false);
    struct redis *late = redis_new(loop, &o);
    WAIT(ear.downs == 1);
    uint64_t put_off_ns = clock_now_ns();
    said(r, WORDS("CONFIG", "SET", "requirepass", ""));
    redis_hurry(late);
    WAIT(ear.ups == 1);
    assert_true(clock_now_ns() - put_off_ns < 2500 * NS_PER_MS);
    redis_hurry(late);
    assert_int_equal(redis_state(late), REDIS_UP);
    redis_free(late);
    redis_free(r);
}

static void a_database_that_is_not_there(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis_options o = options(&ear, false);
    o.url.db = 999;
    struct redis *r = redis_new(loop, &o);
    WAIT(strncmp(ear.reason, "SELECT 999: ERR", 15) == 0);
    redis_free(r);
}

static void a_killed_subscriber_subscribes_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false), *sub = link_up(&other, true);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        int size = snprintf(name, sizeof name, "c%d", i);
        redis_subscribe(sub, (struct slice){name, (size_t)size}, i % 2);
    }
    WAIT(other.subscribed == 2000);
    assert_int_equal(said(r, WORDS("CLIENT", "KILL", "TYPE", "pubsub")).integer, 1);
    WAIT(other.downs == 1);
    assert_int_equal(other.unsubscribed, 2000);
    WAIT(other.subscribed == 4000);
    assert_int_equal(other.ups, 2);
    assert_true(other.down_ns > 0);
    said(r, WORDS("PUBLISH", "c1998", "x"));
    said(r, WORDS("SPUBLISH", "c1999", "y"));
    WAIT(other.messages == 2);
    assert_string_equal(other.channel, "c1999");
    redis_free(r);
    redis_free(sub);
}

static void who_unsubscribes_hears_no_more(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false), *sub = link_up(&other, true);
    redis_subscribe(sub, SLICE("a"), false);
    redis_subscribe(sub, SLICE("b"), false);
    WAIT(other.subscribed == 2);
    redis_unsubscribe(sub, SLICE("a"), false);
    said(r, WORDS("PUBLISH", "a", "1"));
    said(r, WORDS("PUBLISH", "b", "2"));
    WAIT(other.messages == 1);
    assert_string_equal(other.channel, "b");
    assert_int_equal(said(r, WORDS("PUBLISH", "a", "3")).integer, 0);
    redis_unsubscribe(sub, SLICE("b"), false);
    redis_subscribe(sub, SLICE("b"), false); /* at once: confirmed anew */
    WAIT(other.subscribed == 3);
    assert_int_equal(said(r, WORDS("PUBLISH", "b", "4")).integer, 1);
    WAIT(other.messages == 2);
    assert_int_equal(other.unsubscribed, 0);
    redis_free(r);
    redis_free(sub);
}

static void a_refused_subscription_is_told(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false);
    said(r, WORDS("ACL", "SETUSER", "poor", "on", ">pw", "+@all", "resetchannels", "&ok"));
    struct redis_options o = options(&other, true);
    snprintf(o.url.user, sizeof o.url.user, "poor");
    snprintf(o.url.password, sizeof o.url.password, "pw");
    struct redis *sub = redis_new(loop, &o);
    redis_subscribe(sub, SLICE("no"), false);
    redis_subscribe(sub, SLICE("ok"), false);
    WAIT(other.subscribed == 1);
    assert_int_equal(other.unsubscribed, 1);
    assert_memory_equal(other.why, "NOPERM", 6);
    assert_int_equal(other.downs, 0);
    redis_free(sub);
    redis_free(r);
}

static void a_stopped_server_is_noticed_within_ten_seconds(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis *r = link_up(&ear, false), *sub = link_up(&other, true);
    redis_subscribe(sub, SLICE("c"), false);
    WAIT(other.subscribed == 1);
    kill(server.pid, SIGSTOP);
    WAIT_FOR(ear.downs == 1 && other.downs == 1, 10);
    assert_string_equal(other.reason, "silent for 7 s");
    assert_int_equal(redis_command(r, on_answer, NULL, WORDS("PING"), NULL), ERR_CLOSED);
    kill(server.pid, SIGCONT);
    WAIT(ear.ups == 2 && other.subscribed == 2);
    redis_free(r);
    redis_free(sub);
}

static void a_killed_server_is_found_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct answer a = {0};
    struct redis *r = link_up(&ear, false);
    kill(server.pid, SIGSTOP);
    assert_int_equal(redis_command(r, on_answer, &a, WORDS("PING"), NULL), 0);
    lab_kill(&server);
    WAIT(ear.downs > 0);
    assert_int_equal(a.lost, 1);
    WAIT(strncmp(ear.reason, "connect: ", 9) == 0);
    lab_start(&server);
    WAIT(ear.ups == 2);
    assert_string_equal(redis_down_reason(r), "");
    assert_string_equal(said(r, WORDS("PING")).text, "PONG");
    redis_free(r);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static char bytes[8000];
    const char *argv[] = {"PUBLISH", "c", bytes};
    const size_t size[] = {7, 1, sizeof bytes};
    struct redis_options o = options(&ear, false);
    struct answer a = {0};
    o.max_pending_bytes = 256 * 1024;
    struct redis *r = redis_new(loop, &o);
    WAIT(ear.ups == 1);
    kill(server.pid, SIGSTOP);
    int taken = 0, refused = 0;
    while (ear.downs == 0) {
        int err = redis_command(r, on_answer, &a, 3, argv, size);
        assert_true(err == 0 || err == ERR_BUDGET);
        taken += err == 0;
        refused += err < 0;
        assert_true(redis_pending_bytes(r) <= 256 * 1024);
        ev_run(ev, EVRUN_ONCE);
    }
    kill(server.pid, SIGCONT);
    assert_true(taken > 32 && refused > 0);
    assert_int_equal(a.lost, taken);
    assert_string_equal(ear.reason, "no answer to a command for 5 s");
    WAIT(ear.ups == 2);
    assert_string_equal(said(r, WORDS("PING")).text, "PONG");
    redis_free(r);
}

static struct redis *suicide;
static void on_last(void *arg, const redisReply *reply)
{
    on_answer(arg, reply);
    redis_free(suicide);
    suicide = NULL;
}

static void freed_it_answers_with_null_even_in_a_callback(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct answer a = {0}, b = {0};
    suicide = link_up(&ear, false);
    assert_int_equal(redis_command(suicide, on_last, &a, WORDS("PING"), NULL), 0);
    assert_int_equal(redis_command(suicide, on_answer, &b, WORDS("PING"), NULL), 0);
    WAIT(a.count == 1);
    assert_int_equal(a.lost, 0);
    assert_int_equal(b.lost, 1);
    assert_int_equal(ear.downs, 0);
}

static void tls_where_the_certificate_is_trusted(void **state)
{
    (void)state;
    NEEDS_REDIS();
    char command[512], certificate[128], key[128], why[256], port[16];
    if (!lab_has("openssl"))
        skip();
    snprintf(certificate, sizeof certificate, "%s/cert.pem", lab_directory);
    snprintf(key, sizeof key, "%s/key.pem", lab_directory);
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=lab "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
        key, certificate);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
    uint16_t secure = lab_free_port();
    snprintf(port, sizeof port, "%u", secure);
    struct server tls = {.extra = {"--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
                                   "--tls-auth-clients", "no"}};
    lab_start(&tls);

    struct redis_options o = options(&ear, false), sub = options(&other, true);
    o.url.port = sub.url.port = secure;
    o.url.secure = sub.url.secure = true;
    struct redis *untold = redis_new(loop, &o);
    WAIT(strcmp(ear.reason, "TLS: not set up") == 0);
    redis_free(untold);

    struct tls_options trusting = {.ca = "", .name = "localhost", .verify = true};
    o.tls = tls_context_new(&trusting, why, sizeof why);
    struct redis *wary = redis_new(loop, &o);
    WAIT(strstr(ear.reason, "certificate verify failed") != NULL);
    redis_free(wary);
    tls_context_free(o.tls);

    trusting.ca = certificate;
    o.tls = sub.tls = tls_context_new(&trusting, why, sizeof why);
    struct redis *r = redis_new(loop, &o), *s = redis_new(loop, &sub);
    redis_subscribe(s, SLICE("c"), false);
    WAIT(ear.ups == 1 && other.subscribed == 1);
    static char big[1000000];
    const char *argv[] = {"PUBLISH", "c", big};
    const size_t size[] = {7, 1, sizeof big};
    struct answer a = {0};
    assert_int_equal(redis_command(r, on_answer, &a, 3, argv, size), 0);
    WAIT(a.count == 1 && other.messages == 1);
    assert_int_equal(other.payload_size, sizeof big);
    redis_free(r);
    redis_free(s);
    tls_context_free(o.tls);
    lab_kill(&tls);
}

/* A far end of the test's own, which says this to whoever connects. */
static void greeted_with(const char *text, uint64_t timeout_ns)
{
    struct redis_options o = options(&ear, false);
    int listening = sock_listen("127.0.0.1", 0, 16, 0), far = -1;
    o.url.port = sock_port(listening);
    o.connect_timeout_ns = timeout_ns;
    ear = (struct ear){0};
    struct redis *r = redis_new(loop, &o);
    struct sock_options plain = {0};
    struct in6_addr from;
    WAIT((far = sock_accept(listening, &plain, &from)) >= 0);
    assert_int_equal(send(far, text, strlen(text), 0), strlen(text));
    WAIT(ear.downs == 1);
    redis_free(r);
    close(far);
    close(listening);
}

static void what_is_no_redis_is_told(void **state)
{
    (void)state;
    greeted_with("HTTP/1.1 400 Bad Request\r\n\r\n", 0);
    assert_memory_equal(ear.reason, "protocol: ", 10);
    greeted_with("+OK\r\n-LOADING Redis is loading the dataset in memory\r\n", 0);
    assert_memory_equal(ear.reason, "LOADING ", 8);
    greeted_with("+OK\r\n+PONG\r\n+OK\r\n", 0);
    assert_string_equal(ear.reason, "protocol: an answer nobody waits for");
    greeted_with("", 100 * NS_PER_MS);
    assert_string_equal(ear.reason, "greeting took longer than 0.1 s");
}

static void a_reply_above_the_limit_ends_the_link(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct redis_options o = options(&ear, false);
    struct answer a = {0};
    o.max_reply_bytes = 1 << 20;
    struct redis *r = redis_new(loop, &o);
    WAIT(ear.ups == 1);
    said(r, WORDS("SETRANGE", "big", "3000000", "x"));
    assert_int_equal(redis_command(r, on_answer, &a, WORDS("GET", "big"), NULL), 0);
    WAIT(ear.downs == 1 && a.count == 1);
    assert_int_equal(a.lost, 1);
    assert_string_equal(ear.reason, "protocol: a reply above the limit");
    redis_free(r);
}

enum { CHANNELS = 40, STRETCH = 100 };

static struct slice channel_name(int i)
{
    static char name[16];
    return (struct slice){name, (size_t)snprintf(name, sizeof name, "c%d", i)};
}

static void stretch(struct rng *rng, struct redis *sub, bool wanted[CHANNELS])
{
    for (int step = 0; step < STRETCH; step++) {
        int i = (int)(rng_next(rng) % CHANNELS);
        wanted[i] = rng_next(rng) % 2;
        if (wanted[i])
            redis_subscribe(sub, channel_name(i), i % 2);
        else
            redis_unsubscribe(sub, channel_name(i), i % 2);
        if (rng_next(rng) % 8 == 0)
            ev_run(ev, EVRUN_NOWAIT);
    }
}

/* Whatever was said in whatever order, interrupted or not: in the end the server knows what is wanted. */
static void any_sequence_ends_with_what_is_wanted(void **state)
{
    (void)state;
    NEEDS_REDIS();
    bool wanted[CHANNELS] = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    struct redis *r = link_up(&ear, false), *sub = link_up(&other, true);
    for (int round = 0; round < 100; round++) {
        stretch(&rng, sub, wanted);
        if (round % 10 == 5) {
            redis_command(r, NULL, NULL, WORDS("CLIENT", "KILL", "TYPE", "pubsub"), NULL);
            stretch(&rng, sub, wanted);
            WAIT(other.ups == round / 10 + 2);
        }
        for (int i = 0; i < CHANNELS; i++)
            WAIT(said(r, WORDS(i % 2 ? "SPUBLISH" : "PUBLISH", channel_name(i).at, "x")).integer ==
                 wanted[i]);
    }
    redis_free(r);
    redis_free(sub);
}

static void nobody_there_is_told_once(void **state)
{
    (void)state;
    struct redis_options o = options(&ear, false);
    o.url.port = lab_free_port();
    struct redis *r = redis_new(loop, &o);
    assert_int_equal(redis_command(r, on_answer, NULL, WORDS("PING"), NULL), ERR_CLOSED);
    WAIT(redis_down_ns(r) > NS_PER_S);
    assert_int_equal(ear.downs, 1);
    assert_string_equal(ear.reason, "connect: Connection refused");
    redis_free(r);
}

static void the_wait_grows_to_five_seconds(void **state)
{
    (void)state;
    assert_int_equal(redis_backoff_ns(0, 0), 0);
    assert_int_equal(redis_backoff_ns(0, .5), 50 * NS_PER_MS);
    assert_int_equal(redis_backoff_ns(3, .5), 400 * NS_PER_MS);
    assert_int_equal(redis_backoff_ns(6, .5), 2500 * NS_PER_MS);
    assert_true(redis_backoff_ns(UINT32_MAX, .999) < 5 * NS_PER_S);
    assert_string_equal(redis_state_name(REDIS_DOWN), "down");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_are_answered_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ten_thousand_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(payloads_are_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_unix_socket_and_the_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_password_is_a_reason_and_a_right_one_lets_in, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_hears_that_it_is_up_hurries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_that_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_subscriber_subscribes_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_unsubscribes_hears_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_subscription_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_server_is_noticed_within_ten_seconds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_server_is_found_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(freed_it_answers_with_null_even_in_a_callback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tls_where_the_certificate_is_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_redis_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reply_above_the_limit_ends_the_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_sequence_ends_with_what_is_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there_is_told_once, set_up, tear_down),
        cmocka_unit_test(the_wait_grows_to_five_seconds),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
