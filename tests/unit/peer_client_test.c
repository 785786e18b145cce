/* The client against a far end that the test plays itself, in bytes: good answers, bad ones, none. */
#include "peer/client.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/count.h"
#include "wire/http1.h"
#include "wire/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ev_loop *ev;
static struct loop *loop;
static struct client_shared shared;
static struct client client;
static struct rng rng;
static ev_timer ticker; /* lets a loop that waits come round */
static int listening, far;
static bool opened, ended, was_open;
static int code;
static char heard[256];
static char key[UPGRADE_KEY_SIZE + 1]; /* the client's, from its request */

static void on_opened(struct client *c)
{
    assert_ptr_equal(c, &client);
    opened = true;
}

static void on_message(struct client *c, const struct message *m)
{
    (void)c;
    if (heard[0] != '\0')
        strcat(heard, "|");
    strncat(heard, (const char *)m->at, m->size);
}

static void on_ended(struct client *c, bool open, int with)
{
    assert_false(ended);
    ended = true;
    was_open = open;
    code = with;
    client_release(c);
}

static void on_ticker(EV_P_ ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
}

static int set_up(void **state)
{
    (void)state;
    alarm(30);
    opened = ended = was_open = false;
    heard[0] = '\0';
    far = -1;
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = loop_new(ev);
    rng_seed(&rng, 1);
    listening = sock_listen("127.0.0.1", 0, 16, 0);
    shared = (struct client_shared){
        .owner = {.loop = loop},
        .rng = &rng,
        .url = {.host = "127.0.0.1", .port = sock_port(listening), .target = "/feed?key=a"},
        .limits = {.max_message = 1000},
        .opened = on_opened,
        .message = on_message,
        .ended = on_ended};
    ev_timer_init(&ticker, on_ticker, 0.002, 0.002);
    ev_timer_start(ev, &ticker);
    return listening < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_release(&client);
    close(listening);
    if (far >= 0)
        close(far);
    ev_timer_stop(ev, &ticker);
    loop_free(loop);
    ev_loop_destroy(ev);
    alarm(0);
    return blob_bytes_alive() == 0 ? 0 : -1;
}

/* alarm() ends a wait that is in vain. */
#define WAIT_FOR(condition)                                                                                  \
    while (!(condition))                                                                                     \
    ev_run(ev, EVRUN_ONCE)

static size_t hear(void *at, size_t size)
{
    ssize_t got;
    WAIT_FOR((got = recv(far, at, size, MSG_DONTWAIT)) >= 0);
    return (size_t)got;
}

static void say(const void *bytes, size_t size)
{
    assert_int_equal(send(far, bytes, size, MSG_NOSIGNAL), size);
}

/* Connects and reads the request, which has to be one that our own server would take. */
static void begin(void)
{
    static char request[4096];
    static struct http1_head head;
    struct in6_addr from;
    assert_int_equal(client_connect(&client, &shared), 0);
    WAIT_FOR((far = sock_accept(listening, &shared.sock, &from)) >= 0);
    size_t size = hear(request, sizeof request);
    struct http1_limits limits = {sizeof request, HTTP1_HEADERS_MAX};
    assert_int_equal(http1_request(request, size, &limits, NULL, &head), size);
    assert_int_equal(upgrade_check_request(&head), 0);
    assert_true(slice_is(head.target, "/feed?key=a"));
    memcpy(key, http1_value(&head, "Sec-WebSocket-Key").at, UPGRADE_KEY_SIZE);
}

/* The answer that this key asks for, with what else is given. */
static size_t make_answer(char *at, size_t size, const char *headers)
{
    struct buf out = {0};
    struct http1_head request = {.header_count = 1};
    request.header[0] = (struct http1_header){SLICE("Sec-WebSocket-Key"), {key, UPGRADE_KEY_SIZE}};
    upgrade_accept(&request, (struct slice){0}, (struct slice){0}, &out);
    int used = snprintf(at, size, "%.*s%s\r\n", (int)out.size - 2, (const char *)out.at, headers);
    buf_free(&out);
    return (size_t)used;
}

static void open_it(void)
{
    char answer[1024];
    begin();
    say(answer, make_answer(answer, sizeof answer, ""));
    WAIT_FOR(opened);
}

static void check_failure(void)
{
    WAIT_FOR(ended);
    assert_false(opened);
    assert_false(was_open);
    assert_int_equal(code, 1006);
}

static void an_answer_byte_by_byte(void **state)
{
    (void)state;
    char answer[1024];
    begin();
    size_t size = make_answer(answer, sizeof answer, "Server: far\r\n");
    for (size_t i = 0; i < size; i++) {
        assert_false(opened);
        say(answer + i, 1);
        ev_run(ev, EVRUN_ONCE);
    }
    WAIT_FOR(opened);
}

static void frames_right_behind_the_answer(void **state)
{
    (void)state;
    char answer[1024];
    begin();
    size_t size = make_answer(answer, sizeof answer, "");
    memcpy(answer + size, "\x81\x05hello\x81\x02", 9);
    say(answer, size + 9);
    WAIT_FOR(opened && heard[0] != '\0');
    say("ho", 2);
    WAIT_FOR(strcmp(heard, "hello|ho") == 0);
}

static void check_refused(const char *answer)
{
    begin();
    say(answer, strlen(answer));
    check_failure();
}

static void another_status(void **state)
{
    (void)state;
    check_refused("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n");
    assert_int_equal(client.heard.status, 503);
    assert_int_equal(client.heard.retry_after_ns, 5 * NS_PER_S);
    assert_false(client.refused);
}

static void no_http(void **state)
{
    (void)state;
    check_refused("SSH-2.0-OpenSSH\r\n");
}

static void another_key(void **state)
{
    (void)state;
    check_refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

static void an_extension_nobody_asked_for(void **state)
{
    (void)state;
    char answer[1024];
    begin();
    say(answer, make_answer(answer, sizeof answer, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    check_failure();
}

static void an_endless_head(void **state)
{
    (void)state;
    char junk[1000];
    memset(junk, 'x', sizeof junk);
    begin();
    say("HTTP/1.1 101 x\r\nA: ", 19);
    while (!ended) {
        send(far, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT);
        ev_run(ev, EVRUN_ONCE);
    }
    check_failure();
}

static void the_end_before_an_answer(void **state)
{
    (void)state;
    begin();
    close(far);
    far = -1;
    check_failure();
}

static void closing_before_an_answer_ends_at_once(void **state)
{
    (void)state;
    begin();
    client_close(&client, 1000);
    check_failure();
}

/* Reads what the client sends as a server would. */
static void check_client_says(enum message_kind kind, int close_code, const char *text)
{
    uint8_t wire[256];
    struct message_reader r;
    struct message m = {0};
    message_reader_init(&r, true, 1000);
    for (size_t at = 0, size = hear(wire, sizeof wire); m.kind == MESSAGE_NONE;) {
        assert_true(at < size);
        long took = message_read(&r, wire + at, size - at, &m);
        assert_true(took > 0);
        at += (size_t)took;
    }
    assert_int_equal(m.kind, kind);
    assert_int_equal(m.close_code, close_code);
    assert_int_equal(m.size, strlen(text));
    assert_memory_equal(m.at, text, m.size);
    message_reader_free(&r);
}

static void a_ping_is_answered(void **state)
{
    (void)state;
    open_it();
    say("\x89\x03you", 5);
    check_client_says(MESSAGE_PONG, 0, "you");
}

static void messages_are_masked(void **state)
{
    (void)state;
    open_it();
    client_send(&client, FRAME_TEXT, "hello", 5);
    check_client_says(MESSAGE_TEXT, 0, "hello");
}

static void a_close_is_answered(void **state)
{
    (void)state;
    open_it();
    say("\x88\x05\x03\xF5"
        "bye",
        7);
    check_client_says(MESSAGE_CLOSE, 1013, "");
    assert_false(ended);
    close(far);
    far = -1;
    WAIT_FOR(ended);
    assert_true(was_open);
    assert_int_equal(code, 1013);
}

static void the_window_in_a_close_is_kept_and_forgotten_with_the_connection(void **state)
{
    (void)state;
    static const char reason[] = "{\"wsb\":\"reconnect\",\"window_ms\":250}";
    char frame[64];
    int size = snprintf(frame, sizeof frame, "\x88%c\x03\xF4%s", (int)sizeof reason + 1, reason);
    open_it();
    say(frame, (size_t)size);
    close(far);
    far = -1;
    WAIT_FOR(ended);
    assert_int_equal(code, 1012);
    assert_int_equal(client.heard.window_ns, 250 * NS_PER_MS);
    opened = ended = false;
    open_it();
    assert_int_equal(client.heard.window_ns, 0);
    assert_int_equal(client.code, 0);
}

static void nobody_there_is_a_refusal(void **state)
{
    (void)state;
    close(listening);
    if (client_connect(&client, &shared) == 0) {
        check_failure();
        assert_true(client.refused);
    } else {
        assert_int_equal(errno, ECONNREFUSED);
    }
    listening = sock_listen("127.0.0.1", 0, 16, 0);
}

static void a_reset_before_the_answer_is_a_refusal(void **state)
{
    (void)state;
    begin();
    sock_reset_on_close(far);
    close(far);
    far = -1;
    check_failure();
    assert_true(client.refused);
}

static void silence_is_pinged_and_then_given_up(void **state)
{
    (void)state;
    char byte;
    open_it();
    client_listen(&client, 0, 1);
    client_listen(&client, 3600 * NS_PER_S, 1);
    assert_int_equal(client.pinged_ns, 0);
    loop_refresh(loop);
    client_listen(&client, 1, 3600 * NS_PER_S);
    check_client_says(MESSAGE_PING, 0, "");
    client_listen(&client, 1, 3600 * NS_PER_S);
    for (int i = 0; i < 5; i++)
        ev_run(ev, EVRUN_ONCE);
    assert_int_equal(recv(far, &byte, 1, MSG_DONTWAIT), -1); /* one ping is enough */
    assert_false(ended);
    loop_refresh(loop);
    client_listen(&client, 1, 1);
    WAIT_FOR(ended);
    assert_true(was_open);
    assert_int_equal(code, 1006);
    assert_int_equal(recv(far, &byte, 1, 0), 0); /* no reset */
}

static void whatever_is_heard_answers_a_ping(void **state)
{
    (void)state;
    open_it();
    loop_refresh(loop);
    client_listen(&client, 1, 1);
    assert_true(client.pinged_ns > 0);
    say("\x81\x02hi", 4);
    WAIT_FOR(heard[0] != '\0');
    assert_int_equal(client.pinged_ns, 0);
    client_listen(&client, 3600 * NS_PER_S, 1);
    assert_int_equal(client.state, CLIENT_OPEN);
}

static void who_does_not_read_does_not_wait_for_an_answer(void **state)
{
    (void)state;
    open_it();
    client_allow(&client, 0);
    for (int i = 0; i < 3; i++) {
        loop_refresh(loop);
        client_listen(&client, 1, 1);
    }
    assert_int_equal(client.pinged_ns, 0);
    assert_int_equal(client.state, CLIENT_OPEN);
}

static void giving_up_is_a_plain_close(void **state)
{
    (void)state;
    char byte;
    begin();
    client_give_up(&client);
    check_failure();
    assert_int_equal(recv(far, &byte, 1, 0), 0);
}

static void an_end_without_a_close_is_1006(void **state)
{
    (void)state;
    open_it();
    close(far);
    far = -1;
    WAIT_FOR(ended);
    assert_true(was_open);
    assert_int_equal(code, 1006);
}

static void check_broken(const char *bytes, size_t size, int answer)
{
    open_it();
    say(bytes, size);
    WAIT_FOR(ended);
    assert_true(was_open);
    assert_int_equal(code, 1006);
    check_client_says(MESSAGE_CLOSE, answer, "");
}

static void a_masked_frame_breaks_it(void **state)
{
    (void)state;
    check_broken("\x81\x81\0\0\0\0x", 7, 1002);
}

static void too_large_a_message_breaks_it(void **state)
{
    (void)state;
    check_broken("\x82\x7E\x03\xE9", 4, 1009);
}

static void bad_text_breaks_it(void **state)
{
    (void)state;
    check_broken("\x81\x01\xFF", 3, 1007);
}

static void our_close_waits_for_theirs(void **state)
{
    (void)state;
    open_it();
    client_allow(&client, 0);
    client_close(&client, 1000);
    check_client_says(MESSAGE_CLOSE, 1000, "");
    say("\x81\x04last\x88\x02\x03\xE8", 10);
    close(far);
    far = -1;
    WAIT_FOR(ended);
    assert_string_equal(heard, "last");
    assert_int_equal(code, 1000);
}

static void who_may_not_read_hears_nothing(void **state)
{
    (void)state;
    open_it();
    client_allow(&client, 0);
    say("\x81\x05hello", 7);
    for (int i = 0; i < 5; i++)
        ev_run(ev, EVRUN_ONCE);
    assert_string_equal(heard, "");
    client_allow(&client, 3);
    WAIT_FOR(client.allowance == 0);
    assert_string_equal(heard, "");
    client_allow(&client, UINT64_MAX);
    WAIT_FOR(strcmp(heard, "hello") == 0);
}

static void who_does_not_read_can_ask_whether_the_other_is_gone(void **state)
{
    (void)state;
    open_it();
    client_allow(&client, 0);
    assert_false(client_orphaned(&client));
    sock_reset_on_close(far);
    close(far);
    far = -1;
    WAIT_FOR(client_orphaned(&client));
    assert_false(ended);
    client_allow(&client, UINT64_MAX);
    WAIT_FOR(ended);
    assert_int_equal(code, 1006);
}

static void an_abort_is_a_reset(void **state)
{
    (void)state;
    char byte;
    open_it();
    client_abort(&client);
    WAIT_FOR(ended);
    assert_int_equal(code, 1006);
    assert_int_equal(recv(far, &byte, 1, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_answer_byte_by_byte),
        TEST(frames_right_behind_the_answer),
        TEST(another_status),
        TEST(no_http),
        TEST(another_key),
        TEST(an_extension_nobody_asked_for),
        TEST(an_endless_head),
        TEST(the_end_before_an_answer),
        TEST(closing_before_an_answer_ends_at_once),
        TEST(a_ping_is_answered),
        TEST(messages_are_masked),
        TEST(a_close_is_answered),
        TEST(the_window_in_a_close_is_kept_and_forgotten_with_the_connection),
        TEST(nobody_there_is_a_refusal),
        TEST(a_reset_before_the_answer_is_a_refusal),
        TEST(silence_is_pinged_and_then_given_up),
        TEST(whatever_is_heard_answers_a_ping),
        TEST(who_does_not_read_does_not_wait_for_an_answer),
        TEST(giving_up_is_a_plain_close),
        TEST(an_end_without_a_close_is_1006),
        TEST(a_masked_frame_breaks_it),
        TEST(too_large_a_message_breaks_it),
        TEST(bad_text_breaks_it),
        TEST(our_close_waits_for_theirs),
        TEST(who_may_not_read_hears_nothing),
        TEST(who_does_not_read_can_ask_whether_the_other_is_gone),
        TEST(an_abort_is_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
