#include "role/ctl.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int end[2];
static struct ctl_message message;

static int set_up(void **state)
{
    (void)state;
    int size = 1 << 20;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, end) < 0)
        return -1;
    return setsockopt(end[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int tear_down(void **state)
{
    (void)state;
    close(end[0]);
    close(end[1]);
    return 0;
}

/* As a broken program would: without ctl_send. */
static void send_raw(const char *bytes, size_t size)
{
    assert_int_equal(send(end[0], bytes, size, 0), size);
}

static void verb_number_and_settings(void **state)
{
    (void)state;
    const char *settings[] = {"port=9001", "path=/a=b c", "empty=", NULL};
    assert_int_equal(ctl_send(end[0], "configure", UINT64_MAX, settings), 0);
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_string_equal(message.verb, "configure");
    assert_int_equal(message.seq, UINT64_MAX);
    for (int i = 0; i < 3; i++)
        assert_string_equal(message.setting[i], settings[i]);
    assert_null(message.setting[3]);
}

static void no_settings(void **state)
{
    (void)state;
    assert_int_equal(ctl_send(end[0], "stop", 7, NULL), 0);
    assert_int_equal(ctl_send(end[0], "drain", 8, (const char *[]){NULL}), 0);
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_string_equal(message.verb, "stop");
    assert_int_equal(message.seq, 7);
    assert_null(message.setting[0]);
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_string_equal(message.verb, "drain");
    assert_null(message.setting[0]);
}

static void nothing_there_yet(void **state)
{
    (void)state;
    assert_int_equal(ctl_receive(end[1], &message), 0);
}

static void the_other_side_is_gone(void **state)
{
    (void)state;
    assert_int_equal(ctl_send(end[0], "last", 0, NULL), 0);
    close(end[0]);
    end[0] = -1;
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_int_equal(ctl_receive(end[1], &message), ERR_CLOSED);
    assert_int_equal(ctl_send(end[1], "anybody", 0, NULL), ERR_SYSTEM);
}

static void a_line_break_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ctl_send(end[0], "set", 1, (const char *[]){"a=1", "b=2\nc=3", NULL}), ERR_OPTION_VALUE);
    assert_int_equal(ctl_receive(end[1], &message), 0);
}

static void as_many_settings_as_there_is_room_for(void **state)
{
    (void)state;
    static char text[CTL_SETTINGS_MAX + 1][16];
    const char *settings[CTL_SETTINGS_MAX + 2] = {NULL};
    for (int i = 0; i <= CTL_SETTINGS_MAX; i++) {
        snprintf(text[i], sizeof text[i], "name=%d", i);
        settings[i] = text[i];
    }
    assert_int_equal(ctl_send(end[0], "set", 1, settings), ERR_OPTION_VALUE);
    settings[CTL_SETTINGS_MAX] = NULL;
    assert_int_equal(ctl_send(end[0], "set", 1, settings), 0);
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_string_equal(message.setting[CTL_SETTINGS_MAX - 1], text[CTL_SETTINGS_MAX - 1]);
    assert_null(message.setting[CTL_SETTINGS_MAX]);
}

static void as_many_bytes_as_there_is_room_for(void **state)
{
    (void)state;
    static char large[CTL_SIZE_MAX + 1];
    memset(large, 'x', sizeof large - 1);
    large[CTL_SIZE_MAX - sizeof "set 1"] = '\0'; /* "set 1" and a line break go before it */
    assert_int_equal(ctl_send(end[0], "set", 1, (const char *[]){large, NULL}), 0);
    assert_int_equal(ctl_receive(end[1], &message), 1);
    assert_string_equal(message.setting[0], large);
    large[strlen(large)] = 'x';
    assert_int_equal(ctl_send(end[0], "set", 1, (const char *[]){large, NULL}), ERR_OPTION_VALUE);
}

static void check_nonsense(const char *bytes)
{
    send_raw(bytes, strlen(bytes));
    assert_int_equal(ctl_receive(end[1], &message), ERR_CLOSED);
}

static void nonsense_ends_the_conversation(void **state)
{
    (void)state;
    check_nonsense("hello");
    check_nonsense("set 1x");
    check_nonsense("set 1 a=1");
    check_nonsense("\n");
}

static void too_many_settings_end_the_conversation(void **state)
{
    (void)state;
    char bytes[8 + 2 * (CTL_SETTINGS_MAX + 1)] = "set 1";
    for (int i = 0; i <= CTL_SETTINGS_MAX; i++)
        strcat(bytes, "\na");
    check_nonsense(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verb_number_and_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_there_yet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_other_side_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_break_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_many_settings_as_there_is_room_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_many_bytes_as_there_is_room_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_ends_the_conversation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_settings_end_the_conversation, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
