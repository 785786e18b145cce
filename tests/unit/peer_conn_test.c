/* One end of a connection over a socketpair; the test holds the other end and speaks bytes. */
#include "peer/conn.h"

#include "base/bytes.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct conn_limits limits = {.max_message = 1 << 20}, five = {.max_message = 5};

static struct ev_loop *ev;
static struct loop *loop;
static struct conn_owner owner;
static struct conn conn;
static int far;
static char heard[4096]; /* "TEXT hello|PING x" */
static int stop_after;

static bool got(struct conn *c, const struct message *m)
{
    static const char *const names[] = {"", "TEXT ", "BINARY ", "PING ", "PONG ", "CLOSE "};
    assert_ptr_equal(c, &conn);
    if (heard[0] != '\0')
        strcat(heard, "|");
    strcat(heard, names[m->kind]);
    strncat(heard, (const char *)m->at, m->size);
    return --stop_after != 0;
}

static void ready(EV_P_ ev_io *io, int events)
{
    (void)loop, (void)io, (void)events;
}

static int set_up(void **state)
{
    (void)state;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    ev = ev_loop_new(EVFLAG_AUTO);
    loop = loop_new(ev);
    owner.loop = loop;
    conn_open(&conn, &owner, (struct stream){.fd = pair[0]}, true, ready);
    far = pair[1];
    heard[0] = '\0';
    stop_after = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conn_close(&conn, false);
    close(far);
    loop_free(loop);
    ev_loop_destroy(ev);
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void say(const void *bytes, size_t size)
{
    assert_int_equal(send(far, bytes, size, 0), size);
}

static long receive(void)
{
    return conn_receive(&conn, &limits, LOOP_SCRATCH_SIZE, got);
}

/* Frames as a client sends them; the mask is zero, so that they can be read here. */
static const char hello[] = "\x81\x85\0\0\0\0hello";
static const char fragments[] = "\x01\x83\0\0\0\0one\x89\x81\0\0\0\0p\x00\x81\0\0\0\0,\x80\x83\0\0\0\0two";

static void idle_it_holds_nothing(void **state)
{
    (void)state;
    assert_null(conn.work);
    assert_null(conn.work);
    assert_int_equal(receive(), 0);
    assert_null(conn.work);
}

static void a_whole_message_leaves_no_reader(void **state)
{
    (void)state;
    say(hello, sizeof hello - 1);
    assert_int_equal(receive(), sizeof hello - 1);
    assert_string_equal(heard, "TEXT hello");
    assert_null(conn.work);
}

static void fragments_in_one_read_leave_no_reader(void **state)
{
    (void)state;
    say(fragments, sizeof fragments - 1);
    receive();
    assert_string_equal(heard, "PING p|TEXT one,two");
    assert_null(conn.work);
}

static void a_reader_lives_as_long_as_its_message(void **state)
{
    (void)state;
    static const char wire[] = "\x01\x83\0\0\0\0one\x89\x81\0\0\0\0p\x00\x81\0\0\0\0,\x80\x83\0\0\0\0two"
                               "\x81\x85\0\0\0\0hello";
    for (size_t cut = 1; cut < sizeof wire - 1; cut++) {
        heard[0] = '\0';
        say(wire, cut);
        receive();
        assert_true((conn.work == NULL) == (cut == sizeof fragments - 1));
        say(wire + cut, sizeof wire - 1 - cut);
        receive();
        assert_null(conn.work);
        assert_string_equal(heard, "PING p|TEXT one,two|TEXT hello");
    }
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fragments - 1; i++) {
        say(fragments + i, 1);
        assert_int_equal(receive(), 1);
    }
    assert_string_equal(heard, "PING p|TEXT one,two");
    assert_null(conn.work);
}

static void reads_no_more_than_it_may(void **state)
{
    (void)state;
    say(hello, sizeof hello - 1);
    assert_int_equal(conn_receive(&conn, &limits, 4, got), 4);
    assert_int_equal(conn_receive(&conn, &limits, 4, got), 4);
    assert_string_equal(heard, "");
    assert_int_equal(conn_receive(&conn, &limits, 4, got), 3);
    assert_string_equal(heard, "TEXT hello");
}

static void what_stands_behind_the_head_is_taken(void **state)
{
    (void)state;
    uint8_t rest[sizeof hello - 1 + 3];
    memcpy(rest, hello, sizeof hello - 1);
    memcpy(rest + sizeof hello - 1, hello, 3);
    assert_int_equal(conn_take(&conn, rest, sizeof rest, &limits, got), 0);
    assert_string_equal(heard, "TEXT hello");
    assert_non_null(conn.work);
    say(hello + 3, sizeof hello - 1 - 3);
    receive();
    assert_string_equal(heard, "TEXT hello|TEXT hello");
    assert_null(conn.work);
}

static void errors_are_handed_on(void **state)
{
    (void)state;
    say("\x81\x05hello", 7);
    assert_int_equal(receive(), ERR_MASK);
}

static void an_error_inside_a_message_frees_it(void **state)
{
    (void)state;
    say("\x01\x83\0\0\0\0one", 9);
    receive();
    say("\x81\x83\0\0\0\0two", 9);
    assert_int_equal(receive(), ERR_FRAGMENT);
}

static void the_limit_holds_for_a_message_under_way(void **state)
{
    (void)state;
    say("\x01\x83\0\0\0\0one", 9);
    assert_int_equal(conn_receive(&conn, &five, LOOP_SCRATCH_SIZE, got), 9);
    say("\x80\x83\0\0\0\0two", 9);
    assert_int_equal(conn_receive(&conn, &five, LOOP_SCRATCH_SIZE, got), ERR_TOO_BIG);
}

static void the_receiver_may_stop(void **state)
{
    (void)state;
    say(hello, sizeof hello - 1);
    say(hello, sizeof hello - 1);
    stop_after = 1;
    receive();
    assert_string_equal(heard, "TEXT hello");
}

static void the_end_of_the_stream(void **state)
{
    (void)state;
    say("\x81\x85\0\0", 4);
    shutdown(far, SHUT_WR);
    assert_int_equal(receive(), 4);
    assert_int_equal(receive(), ERR_CLOSED);
}

static bool waits_for(int events)
{
    return ev_is_active(&conn.io) && (conn.io.events & (EV_READ | EV_WRITE)) == events;
}

static void push(const char *text, size_t size)
{
    sendq_push(conn_out(&conn), message_frame(FRAME_BINARY, text, size, NULL, 0));
}

static void a_flush_writes_frames_together(void **state)
{
    (void)state;
    char all[16];
    uint32_t frames;
    size_t bytes;
    push("a", 1);
    push("bc", 2);
    assert_true(conn_flush(&conn, &frames, &bytes));
    assert_int_equal(frames, 2);
    assert_int_equal(bytes, 7);
    assert_int_equal(recv(far, all, sizeof all, 0), 7);
    assert_memory_equal(all, "\x82\x01\x61\x82\x02\x62\x63", 7);
    assert_true(waits_for(EV_READ));
}

static void nothing_to_flush(void **state)
{
    (void)state;
    uint32_t frames = 9;
    size_t bytes = 9;
    assert_true(conn_flush(&conn, &frames, &bytes));
    assert_int_equal(frames, 0);
    assert_int_equal(bytes, 0);
    assert_true(waits_for(EV_READ));
}

static size_t swallow(size_t most)
{
    static char sink[1 << 16];
    ssize_t size = recv(far, sink, most < sizeof sink ? most : sizeof sink, 0);
    for (ssize_t i = 0; i < size; i++)
        assert_true(sink[i] == 'x' || (uint8_t)sink[i] == 0x82 || (uint8_t)sink[i] == 126 ||
                    (uint8_t)sink[i] == 0xF0 || sink[i] == 0);
    return size < 0 ? 0 : (size_t)size;
}

/* 300 frames of 61,444 bytes, through a pipe that takes a little at a time. */
static void partial_writes_add_up(void **state)
{
    (void)state;
    enum { COUNT = 300, SIZE = 0xF000, FRAME = SIZE + 4 };
    char *payload = memset(mem_alloc(SIZE), 'x', SIZE);
    size_t left = 0, arrived = 0, most = 1000;
    uint64_t frames_left = 0;
    for (int i = 0; i < COUNT; i++)
        push(payload, SIZE);
    free(payload);
    while (arrived < (size_t)COUNT * FRAME) {
        uint32_t frames;
        size_t bytes;
        assert_true(conn_flush(&conn, &frames, &bytes));
        left += bytes;
        frames_left += frames;
        assert_int_equal(frames_left, left / FRAME);
        assert_int_equal(conn_queued(&conn), (size_t)COUNT * FRAME - left);
        assert_true(waits_for(conn_queued(&conn) > 0 ? EV_READ | EV_WRITE : EV_READ));
        arrived += swallow(most);
        most = most * 5 % 65521 + 1;
    }
    assert_int_equal(frames_left, COUNT);
}

/* The rest leaves when others have had theirs, without asking the descriptor. */
static void one_flush_is_a_fair_share(void **state)
{
    (void)state;
    uint32_t frames, more;
    size_t bytes;
    for (int i = 0; i < 700; i++)
        push("x", 1);
    assert_true(conn_flush(&conn, &frames, &bytes));
    assert_true(frames < 700);
    assert_true(waits_for(EV_READ));
    assert_false(list_empty(&conn.work->turn.link));
    turn_cancel(&conn.work->turn);
    assert_true(conn_flush(&conn, &more, &bytes));
    assert_int_equal(frames + more, 700);
    assert_true(list_empty(&conn.work->turn.link));
}

static void a_broken_stream_is_told(void **state)
{
    (void)state;
    uint32_t frames;
    size_t bytes;
    push("x", 1);
    close(far);
    far = -1;
    assert_false(conn_flush(&conn, &frames, &bytes));
}

static void who_does_not_read_does_not_wait_for_bytes(void **state)
{
    (void)state;
    uint32_t frames;
    size_t bytes;
    conn_read_on(&conn, false);
    assert_false(ev_is_active(&conn.io));
    push("x", 1);
    assert_true(conn_flush(&conn, &frames, &bytes));
    assert_false(ev_is_active(&conn.io));
    conn_read_on(&conn, true);
    assert_true(waits_for(EV_READ));
    conn_wait_writable(&conn);
    assert_true(waits_for(EV_WRITE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(idle_it_holds_nothing),
        TEST(a_whole_message_leaves_no_reader),
        TEST(fragments_in_one_read_leave_no_reader),
        TEST(a_reader_lives_as_long_as_its_message),
        TEST(byte_by_byte),
        TEST(reads_no_more_than_it_may),
        TEST(what_stands_behind_the_head_is_taken),
        TEST(errors_are_handed_on),
        TEST(an_error_inside_a_message_frees_it),
        TEST(the_limit_holds_for_a_message_under_way),
        TEST(the_receiver_may_stop),
        TEST(the_end_of_the_stream),
        TEST(a_flush_writes_frames_together),
        TEST(nothing_to_flush),
        TEST(partial_writes_add_up),
        TEST(one_flush_is_a_fair_share),
        TEST(a_broken_stream_is_told),
        TEST(who_does_not_read_does_not_wait_for_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
