/* Gap notices in a queue. A queue is written down as text: "a -3 bb" is two messages with a gap of 3 between.
 */
#include "peer/gap.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void push(struct sendq *q, const char *text)
{
    sendq_push(q, message_frame(FRAME_TEXT, text, strlen(text), NULL, 0));
}

static uint8_t wire[4096];

static size_t copy_out(const struct sendq *q)
{
    struct iovec v[64];
    size_t size = 0;
    int n = sendq_gather(q, v, 64, SIZE_MAX);
    for (int i = 0; i < n; size += v[i++].iov_len)
        memcpy(wire + size, v[i].iov_base, v[i].iov_len);
    return size;
}

static void note_message(const struct message *m, char *text, size_t size)
{
    size_t used = strlen(text);
    uint64_t gap = gap_read(m);
    if (gap > 0)
        snprintf(text + used, size - used, "%s-%llu", used ? " " : "", (unsigned long long)gap);
    else
        snprintf(text + used, size - used, "%s%.*s", used ? " " : "", (int)m->size, (const char *)m->at);
}

static const char *contents(const struct sendq *q)
{
    static char text[1024];
    struct message_reader r;
    size_t size = copy_out(q);
    assert_int_equal(size, q->bytes);
    text[0] = '\0';
    message_reader_init(&r, false, 1000);
    for (size_t at = 0; at < size;) {
        struct message m;
        long took = message_read(&r, wire + at, size - at, &m);
        assert_true(took > 0);
        at += (size_t)took;
        if (m.kind != MESSAGE_NONE)
            note_message(&m, text, sizeof text);
    }
    message_reader_free(&r);
    return text;
}

static int tear_down(void **state)
{
    (void)state;
    return blob_bytes_alive() == 0 ? 0 : -1;
}

static void is_one_text_frame_of_json(void **state)
{
    (void)state;
    static const char expected[] = "\x81\x22{\"wsb\":\"gap\",\"dropped\":12        }";
    struct sendq q = {0};
    gap_note(&q, false, 12, 0);
    assert_int_equal(q.bytes, GAP_FRAME_SIZE);
    assert_int_equal(copy_out(&q), sizeof expected - 1);
    assert_memory_equal(wire, expected, sizeof expected - 1);
    sendq_free(&q);
}

static void stands_where_the_messages_would_have(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "a");
    gap_note(&q, false, 3, 0);
    push(&q, "b");
    assert_string_equal(contents(&q), "a -3 b");
    gap_note(&q, true, 2, 0);
    assert_string_equal(contents(&q), "-2 a -3 b");
    gap_note(&q, false, 1, 0);
    assert_string_equal(contents(&q), "-2 a -3 b -1");
    sendq_free(&q);
}

static void neighbours_are_one(void **state)
{
    (void)state;
    struct sendq q = {0};
    gap_note(&q, false, 3, 0);
    gap_note(&q, false, 4, 0);
    gap_note(&q, true, 5, 0);
    assert_string_equal(contents(&q), "-12");
    push(&q, "a");
    gap_note(&q, true, 1000000, 0);
    assert_string_equal(contents(&q), "-1000012 a");
    sendq_free(&q);
}

static void the_front_is_behind_what_has_begun_to_leave(void **state)
{
    (void)state;
    struct sendq q = {0};
    push(&q, "abc");
    push(&q, "d");
    sendq_settle(&q, 1);
    gap_note(&q, true, 2, 0);
    sendq_settle(&q, 4);
    assert_string_equal(contents(&q), "-2 d");
    sendq_free(&q);
}

static void a_notice_that_has_begun_to_leave_is_not_written_over(void **state)
{
    (void)state;
    struct sendq q = {0};
    gap_note(&q, false, 2, 0);
    sendq_settle(&q, 30);
    gap_note(&q, false, 3, 0);
    gap_note(&q, true, 4, 0);
    sendq_settle(&q, 6);
    assert_string_equal(contents(&q), "-7");
    sendq_free(&q);
}

static void the_largest_gap(void **state)
{
    (void)state;
    struct sendq q = {0};
    gap_note(&q, false, UINT32_MAX, 0);
    gap_note(&q, false, UINT32_MAX, 0);
    assert_string_equal(contents(&q), "-4294967295");
    sendq_free(&q);
}

static void check_drop(struct sendq *q, uint64_t most, uint32_t messages, uint32_t missing, const char *left)
{
    uint32_t got_missing;
    assert_int_equal(gap_drop_oldest(q, most, &got_missing), messages);
    assert_int_equal(got_missing, missing);
    assert_string_equal(contents(q), left);
}

static void dropping_counts_what_notices_stand_for(void **state)
{
    (void)state;
    struct sendq q = {0};
    gap_note(&q, false, 10, 0);
    push(&q, "a");
    push(&q, "b");
    gap_note(&q, false, 20, 0);
    push(&q, "c");
    check_drop(&q, 1000, 0, 10, "a b -20 c");
    check_drop(&q, GAP_FRAME_SIZE + 6, 1, 1, "b -20 c");
    check_drop(&q, GAP_FRAME_SIZE + 5, 1, 21, "c");
    check_drop(&q, 3, 0, 0, "c");
    check_drop(&q, 0, 1, 1, "");
    check_drop(&q, 0, 0, 0, "");
    sendq_free(&q);
}

static void dropping_spares_what_has_begun_to_leave(void **state)
{
    (void)state;
    struct sendq q = {0};
    uint32_t missing;
    push(&q, "abc");
    push(&q, "d");
    sendq_settle(&q, 1);
    assert_int_equal(gap_drop_oldest(&q, 0, &missing), 1);
    assert_int_equal(missing, 1);
    assert_int_equal(q.bytes, 4);
    sendq_free(&q);
}

static void a_dropped_pong_is_no_message(void **state)
{
    (void)state;
    struct sendq q = {0};
    uint32_t missing;
    sendq_push(&q, message_frame(FRAME_PONG, "x", 1, NULL, 0));
    push(&q, "a");
    assert_int_equal(gap_drop_oldest(&q, 0, &missing), 1);
    assert_int_equal(missing, 1);
    sendq_free(&q);
}

static void check_no_notice(enum message_kind kind, const char *text)
{
    struct message m = {.kind = kind, .at = (const uint8_t *)text, .size = strlen(text)};
    assert_int_equal(gap_read(&m), 0);
}

static void other_messages_say_nothing(void **state)
{
    (void)state;
    check_no_notice(MESSAGE_TEXT, "");
    check_no_notice(MESSAGE_TEXT, "{\"wsb\":\"gap\",\"dropped\":12}");
    check_no_notice(MESSAGE_BINARY, "{\"wsb\":\"gap\",\"dropped\":12        }");
    check_no_notice(MESSAGE_TEXT, "{\"wsb\":\"cap\",\"dropped\":12        }");
    check_no_notice(MESSAGE_TEXT, "{\"wsb\":\"gap\",\"dropped\":xxxxxxxxxx}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(is_one_text_frame_of_json, tear_down),
        cmocka_unit_test_teardown(stands_where_the_messages_would_have, tear_down),
        cmocka_unit_test_teardown(neighbours_are_one, tear_down),
        cmocka_unit_test_teardown(the_front_is_behind_what_has_begun_to_leave, tear_down),
        cmocka_unit_test_teardown(a_notice_that_has_begun_to_leave_is_not_written_over, tear_down),
        cmocka_unit_test_teardown(the_largest_gap, tear_down),
        cmocka_unit_test_teardown(dropping_counts_what_notices_stand_for, tear_down),
        cmocka_unit_test_teardown(dropping_spares_what_has_begun_to_leave, tear_down),
        cmocka_unit_test_teardown(a_dropped_pong_is_no_message, tear_down),
        cmocka_unit_test(other_messages_say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
