/* Writing: frames and Close frames as bytes, and that the reader takes them back. */
#include "base/bytes.h"
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { LIMIT = 100000 };

static const uint8_t example_mask[4] = {0x37, 0xfa, 0x21, 0x3d};
static char big[400];

static void check_blob(struct blob *blob, const char *bytes, size_t size)
{
    assert_int_equal(blob->refs, 1);
    assert_int_equal(blob->born_ns, 77);
    assert_int_equal(blob->size, size);
    assert_memory_equal(blob->bytes, bytes, size);
    blob_unref(blob);
}

#define CHECK_BLOB(blob, literal) check_blob(blob, literal, sizeof(literal) - 1)

static void frames_are_written_as_in_the_rfc(void **state)
{
    (void)state;
    CHECK_BLOB(message_frame(FRAME_TEXT, "Hello", 5, NULL, 77), "\x81\x05Hello");
    CHECK_BLOB(message_frame(FRAME_TEXT, "Hello", 5, example_mask, 77),
               "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    CHECK_BLOB(message_frame(FRAME_PONG, NULL, 0, NULL, 77), "\x8A\x00");
    CHECK_BLOB(message_frame(FRAME_PING, NULL, 0, example_mask, 77), "\x89\x80\x37\xfa\x21\x3d");
}

static void close_frames_are_written(void **state)
{
    (void)state;
    CHECK_BLOB(message_close_frame(0, "ignored", NULL, 77), "\x88\x00");
    CHECK_BLOB(message_close_frame(1005, NULL, NULL, 77), "\x88\x00");
    CHECK_BLOB(message_close_frame(1000, NULL, NULL, 77), "\x88\x02\x03\xE8");
    CHECK_BLOB(message_close_frame(1013, "try later", NULL, 77), "\x88\x0B\x03\xF5try later");
}

/* A reason of `letters` letters and then euro signs, three bytes each, must come out `kept` bytes long. */
static void check_reason_cut(size_t letters, size_t kept)
{
    char reason[200];
    memset(reason, 'x', letters);
    for (size_t at = letters; at + 3 < sizeof reason; at += 3)
        memcpy(reason + at, "\xE2\x82\xAC", 4);
    struct blob *blob = message_close_frame(1000, reason, NULL, 77);
    assert_int_equal(blob->bytes[1], kept + 2);
    assert_memory_equal(blob->bytes + 4, reason, kept);
    blob_unref(blob);
}

static void long_reasons_are_cut_at_a_character(void **state)
{
    (void)state;
    check_reason_cut(0, 123);
    check_reason_cut(1, 121);
    check_reason_cut(2, 122);
    char exact[124];
    memset(exact, 'y', 123);
    exact[123] = '\0';
    struct blob *blob = message_close_frame(1000, exact, NULL, 77);
    assert_int_equal(blob->size, 127);
    blob_unref(blob);
}

static void what_is_written_can_be_read(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    for (size_t size = 0; size < sizeof big; size += 3) {
        struct blob *blob = message_frame(FRAME_BINARY, big, size, example_mask, 0);
        struct message_reader r;
        struct message m;
        message_reader_init(&r, true, LIMIT);
        assert_int_equal(message_read(&r, blob->bytes, blob->size, &m), blob->size);
        assert_int_equal(m.kind, MESSAGE_BINARY);
        assert_int_equal(m.size, size);
        assert_memory_equal(m.at, big, size);
        blob_unref(blob);
        message_reader_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_written_as_in_the_rfc),
        cmocka_unit_test(close_frames_are_written),
        cmocka_unit_test(long_reasons_are_cut_at_a_character),
        cmocka_unit_test(what_is_written_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
