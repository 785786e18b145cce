#include "base/err.h"
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A stream is read in many ways (whole, byte by byte, cut in two at each offset); what comes out is written
 * down as text, "TEXT Hello|PING |CLOSE 1000 bye|ERR UTF8", and has to be the same each time.
 *
 * Frames are written with add_frame as they are for a client to read; for the server role they are masked. */

enum { LIMIT = 100000 };

static const char *const kind_name[] = {
    [MESSAGE_NONE] = "",     [MESSAGE_TEXT] = "TEXT", [MESSAGE_BINARY] = "BINARY",
    [MESSAGE_PING] = "PING", [MESSAGE_PONG] = "PONG", [MESSAGE_CLOSE] = "CLOSE",
};

static void note(struct buf *log, const struct message *m)
{
    if (m->kind == MESSAGE_NONE)
        return;
    buf_printf(log, "%s%s ", log->size ? "|" : "", kind_name[m->kind]);
    if (m->kind == MESSAGE_CLOSE)
        buf_printf(log, "%d ", m->close_code);
    buf_append(log, m->at, m->size);
}

/* Reads one piece, in memory of exactly its size. Returns the error, or 0. */
static long feed(struct message_reader *r, const uint8_t *at, size_t size, struct buf *log)
{
    uint8_t *piece = memcpy(mem_alloc(size), at, size);
    long err = 0;
    for (size_t taken = 0; taken < size && err == 0;) {
        struct message m = {.close_code = -1};
        long n = message_read(r, piece + taken, size - taken, &m);
        assert_true(n < 0 || (n > 0 && (size_t)n <= size - taken));
        if (n < 0) {
            assert_int_equal(m.close_code, -1);
            buf_printf(log, "%sERR %s", log->size ? "|" : "", err_name((int)n));
            err = n;
        } else {
            taken += (size_t)n;
            note(log, &m);
        }
    }
    free(piece);
    return err;
}

/* first: bytes of the first piece; step: of all others. */
static void read_cut(bool server, const struct buf *wire, size_t first, size_t step, struct buf *log)
{
    struct message_reader r;
    message_reader_init(&r, server, LIMIT);
    for (size_t at = 0, size = first; at < wire->size; at += size, size = step) {
        if (size > wire->size - at)
            size = wire->size - at;
        if (size > 0 && feed(&r, wire->at + at, size, log) < 0)
            break;
    }
    message_reader_free(&r);
}

static void check_cut(bool server, const struct buf *wire, size_t first, size_t step, const char *expected)
{
    struct buf log = {0};
    read_cut(server, wire, first, step, &log);
    if (log.size != strlen(expected) || memcmp(buf_reserve(&log, 0) - log.size, expected, log.size) != 0) {
        buf_append(&log, "", 1);
        fail_msg("first %zu, then %zu: \"%s\", expected \"%s\"", first, step, (char *)log.at, expected);
    }
    buf_free(&log);
}

static void check_reading(bool server, const struct buf *wire, const char *expected)
{
    check_cut(server, wire, wire->size, wire->size, expected);
    for (size_t step = 1; step < 9; step++)
        check_cut(server, wire, step, step, expected);
    for (size_t cut = 1; cut < wire->size && cut < 600; cut++)
        check_cut(server, wire, cut, wire->size, expected);
}

static void check_bytes(bool server, const char *bytes, size_t size, const char *expected)
{
    struct buf wire = {0};
    buf_append(&wire, bytes, size);
    check_reading(server, &wire, expected);
    buf_free(&wire);
}

#define CHECK_BYTES(server, literal, expected) check_bytes(server, literal, sizeof(literal) - 1, expected)

struct script {
    bool server;
    struct buf wire;
};

/* first: FIN, RSV and opcode. */
static void add_frame(struct script *s, uint8_t first, const void *payload, size_t size)
{
    struct frame_head frame = {.fin = first & 0x80,
                               .rsv = first >> 4 & 7,
                               .opcode = first & 0xF,
                               .masked = s->server,
                               .mask = {0xDE, 0xAD, 0xBE, 0xEF},
                               .length = size};
    uint8_t head[FRAME_HEAD_MAX];
    buf_append(&s->wire, head, frame_write(&frame, head));
    buf_append(&s->wire, payload, size);
    if (s->server)
        frame_mask(s->wire.at + s->wire.size - size, size, frame.mask, 0);
}

static void add_text(struct script *s, uint8_t first, const char *payload)
{
    add_frame(s, first, payload, strlen(payload));
}

/* One script, both roles. */
static void check_script(void (*write_frames)(struct script *), const char *expected)
{
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        write_frames(&s);
        check_reading(server, &s.wire, expected);
        buf_free(&s.wire);
    }
}

static void examples_of_the_rfc(void **state)
{
    (void)state;
    CHECK_BYTES(false, "\x81\x05\x48\x65\x6c\x6c\x6f", "TEXT Hello");
    CHECK_BYTES(true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "TEXT Hello");
    CHECK_BYTES(false, "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", "TEXT Hello");
    CHECK_BYTES(false, "\x89\x05\x48\x65\x6c\x6c\x6f", "PING Hello");
    CHECK_BYTES(true, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "PONG Hello");
}

static void empty_frames(struct script *s)
{
    add_text(s, 0x81, "");
    add_text(s, 0x82, "");
    add_text(s, 0x89, "");
    add_text(s, 0x8A, "");
    add_text(s, 0x88, "");
}

static void empty_frames_are_messages(void **state)
{
    (void)state;
    check_script(empty_frames, "TEXT |BINARY |PING |PONG |CLOSE 1005 ");
}

static void many_in_a_row(struct script *s)
{
    add_text(s, 0x81, "one");
    add_text(s, 0x82, "two");
    add_text(s, 0x81, "three, which is longer");
    add_text(s, 0x81, "4");
}

static void several_messages_keep_their_order(void **state)
{
    (void)state;
    check_script(many_in_a_row, "TEXT one|BINARY two|TEXT three, which is longer|TEXT 4");
}

static void fragments(struct script *s)
{
    add_text(s, 0x01, "");
    add_text(s, 0x00, "He");
    add_text(s, 0x89, "are you there");
    add_text(s, 0x00, "");
    add_text(s, 0x8A, "yes");
    add_text(s, 0x00, "ll");
    add_text(s, 0x89, "");
    add_text(s, 0x80, "o");
    add_text(s, 0x02, "a");
    add_text(s, 0x80, "");
    add_text(s, 0x02, "");
    add_text(s, 0x80, "all in the last");
}

static void control_frames_may_come_between_fragments(void **state)
{
    (void)state;
    check_script(fragments, "PING are you there|PONG yes|PING |TEXT Hello|BINARY a|BINARY all in the last");
}

static void close_inside_fragments(struct script *s)
{
    add_text(s, 0x01, "half");
    add_text(s, 0x88,
             "\x03\xE9"
             "bye");
    add_text(s, 0x80, "ignored");
}

static void close_may_come_between_fragments(void **state)
{
    (void)state;
    check_script(close_inside_fragments, "CLOSE 1001 bye");
}

static void noise_after_close(struct script *s)
{
    add_text(s, 0x88, "\x03\xE8");
    add_text(s, 0x81, "ignored");
    buf_append(&s->wire, "\xFF\xFF\xFF\xFF no frame at all", 20);
}

static void everything_after_a_close_is_swallowed(void **state)
{
    (void)state;
    check_script(noise_after_close, "CLOSE 1000 ");
}

static char big[70000];
static char big_expected[70000 + 600];

static void sizes_of_every_form(struct script *s)
{
    memset(big, 'x', sizeof big);
    add_frame(s, 0x82, big, 125);
    add_frame(s, 0x82, big, 126);
    add_frame(s, 0x82, big, 70000);
    add_frame(s, 0x82, "end", 3);
}

static void every_form_of_length_is_read(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    snprintf(big_expected, sizeof big_expected, "BINARY %.125s|BINARY %.126s|BINARY %.70000s|BINARY end", big,
             big, big);
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        sizes_of_every_form(&s);
        for (size_t step = 1; step <= s.wire.size; step = step * 7 + 3)
            check_cut(server, &s.wire, step, step, big_expected);
        check_cut(server, &s.wire, s.wire.size, 1, big_expected);
        buf_free(&s.wire);
    }
}

static void check_one_frame(uint8_t first, const char *payload, size_t size, const char *expected)
{
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        add_frame(&s, first, payload, size);
        check_reading(server, &s.wire, expected);
        buf_free(&s.wire);
    }
}

#define CHECK_ONE(first, literal, expected) check_one_frame(first, literal, sizeof(literal) - 1, expected)

static void each_reserved_bit_fails(void **state)
{
    (void)state;
    CHECK_ONE(0xC1, "x", "ERR RSV_BITS");
    CHECK_ONE(0xA2, "x", "ERR RSV_BITS");
    CHECK_ONE(0x99, "x", "ERR RSV_BITS");
    CHECK_ONE(0xF8, "", "ERR RSV_BITS");
}

static void bad_frames_fail(void **state)
{
    (void)state;
    CHECK_ONE(0x83, "x", "ERR OPCODE");
    CHECK_ONE(0x8B, "x", "ERR OPCODE");
    CHECK_ONE(0x09, "x", "ERR CONTROL_FRAME");
    CHECK_ONE(0x08, "", "ERR CONTROL_FRAME");
    check_one_frame(0x89, big, 126, "ERR CONTROL_FRAME");
    CHECK_ONE(0x80, "x", "ERR FRAGMENT");
    CHECK_ONE(0x00, "x", "ERR FRAGMENT");
    CHECK_BYTES(false, "\x82\x7E\x00\x01z", "ERR LENGTH_FORM");
}

static void the_largest_control_frame_passes(void **state)
{
    (void)state;
    char expected[200];
    memset(big, 'x', sizeof big);
    snprintf(expected, sizeof expected, "PONG %.125s", big);
    check_one_frame(0x8A, big, 125, expected);
}

static void start_in_message(struct script *s)
{
    add_text(s, 0x01, "a");
    add_text(s, 0x81, "b");
}

static void continue_after_end(struct script *s)
{
    add_text(s, 0x01, "a");
    add_text(s, 0x80, "b");
    add_text(s, 0x80, "c");
}

static void fragments_out_of_order_fail(void **state)
{
    (void)state;
    check_script(start_in_message, "ERR FRAGMENT");
    check_script(continue_after_end, "TEXT ab|ERR FRAGMENT");
}

static void the_mask_belongs_to_the_role(void **state)
{
    (void)state;
    CHECK_BYTES(true, "\x81\x05Hello", "ERR MASK");
    CHECK_BYTES(true, "\x89\x00", "ERR MASK");
    CHECK_BYTES(false, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "ERR MASK");
    CHECK_BYTES(false, "\x88\x80\x01\x02\x03\x04", "ERR MASK");
}

static void close_payloads(void **state)
{
    (void)state;
    CHECK_ONE(0x88, "\x03\xE8", "CLOSE 1000 ");
    CHECK_ONE(0x88, "\x03\xF5", "CLOSE 1013 ");
    CHECK_ONE(0x88, "\x0F\xA0reason", "CLOSE 4000 reason");
    CHECK_ONE(0x88, "\x03\xE8\xE2\x82\xAC", "CLOSE 1000 \xE2\x82\xAC");
    CHECK_ONE(0x88, "\x03", "ERR PROTOCOL");
    CHECK_ONE(0x88, "\x03\xE7", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x03\xED", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x03\xEE", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x03\xF7", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x13\x88", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x00\x00", "ERR CLOSE_CODE");
    CHECK_ONE(0x88, "\x03\xE8\xFF", "ERR UTF8");
    CHECK_ONE(0x88, "\x03\xE8\xE2\x82", "ERR UTF8");
}

static void close_codes_as_registered(void **state)
{
    (void)state;
    static const struct {
        int from, to;
        bool allowed;
    } ranges[] = {
        {-1, 999, false},    {1000, 1003, true}, {1004, 1006, false},  {1007, 1014, true},
        {1015, 2999, false}, {3000, 4999, true}, {5000, 70000, false},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        for (int code = ranges[i].from; code <= ranges[i].to; code++)
            assert_int_equal(message_close_code_allowed(code), ranges[i].allowed);
}

static void euro_across_fragments(struct script *s)
{
    add_text(s, 0x01, "\xE2");
    add_text(s, 0x89, "\xFF\xFF");
    add_text(s, 0x00, "\x82");
    add_text(s, 0x80, "\xAC");
}

static void bad_across_fragments(struct script *s)
{
    add_text(s, 0x01, "good\xED");
    add_text(s, 0x80, "\xA0\x80");
}

static void unfinished_at_the_end(struct script *s)
{
    add_text(s, 0x01, "\xE2\x82");
    add_text(s, 0x80, "");
}

static void state_does_not_leak(struct script *s)
{
    add_text(s, 0x02, "\xE2\x82");
    add_text(s, 0x80, "\xFF");
    add_text(s, 0x81, "ok");
}

static void text_is_checked_across_fragments(void **state)
{
    (void)state;
    check_script(euro_across_fragments, "PING \xFF\xFF|TEXT \xE2\x82\xAC");
    check_script(bad_across_fragments, "ERR UTF8");
    check_script(unfinished_at_the_end, "ERR UTF8");
    check_script(state_does_not_leak, "BINARY \xE2\x82\xFF|TEXT ok");
    CHECK_ONE(0x81, "\xC0\xAF", "ERR UTF8");
    CHECK_ONE(0x81, "Hello\xE2\x82", "ERR UTF8");
}

/* What the reader says of the first `given` bytes. */
static long verdict_on(const struct buf *wire, size_t given, bool server, uint64_t limit)
{
    struct message_reader r;
    struct buf log = {0};
    message_reader_init(&r, server, limit);
    long err = feed(&r, wire->at, given, &log);
    message_reader_free(&r);
    buf_free(&log);
    return err;
}

static void bad_text_fails_before_its_frame_ends(void **state)
{
    (void)state;
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        add_text(&s, 0x81, "good so far\xED\xA0 and more that is never read");
        size_t bad_at = (server ? 6 : 2) + strlen("good so far\xED\xA0");
        assert_int_equal(verdict_on(&s.wire, bad_at - 1, server, LIMIT), 0);
        assert_int_equal(verdict_on(&s.wire, bad_at, server, LIMIT), ERR_UTF8);
        buf_free(&s.wire);
    }
}

static void the_limit_is_met_by_the_announced_length(void **state)
{
    (void)state;
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        add_frame(&s, 0x82, big, 1001);
        size_t head_size = frame_head_size(1001, server);
        assert_int_equal(verdict_on(&s.wire, head_size - 1, server, 1000), 0);
        assert_int_equal(verdict_on(&s.wire, head_size, server, 1000), ERR_TOO_BIG);
        assert_int_equal(verdict_on(&s.wire, s.wire.size, server, 1001), 0);
        buf_free(&s.wire);
    }
}

static void the_limit_is_met_by_the_sum_of_fragments(void **state)
{
    (void)state;
    for (int server = 0; server <= 1; server++) {
        struct script s = {.server = server};
        add_frame(&s, 0x02, big, 600);
        add_frame(&s, 0x89, big, 100);
        add_frame(&s, 0x00, big, 400);
        size_t good = s.wire.size;
        add_frame(&s, 0x80, big, 1);
        assert_int_equal(verdict_on(&s.wire, good, server, 1000), 0);
        assert_int_equal(verdict_on(&s.wire, s.wire.size, server, 1000), ERR_TOO_BIG);
        assert_int_equal(verdict_on(&s.wire, s.wire.size, server, 1001), 0);
        buf_free(&s.wire);
    }
}

static void huge_announcements_do_not_overflow(void **state)
{
    (void)state;
    struct buf wire = {0};
    buf_append(&wire, "\x02\x01x\x80\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 13);
    assert_int_equal(verdict_on(&wire, wire.size, false, LIMIT), ERR_TOO_BIG);
    assert_int_equal(verdict_on(&wire, wire.size, false, INT64_MAX), ERR_TOO_BIG);
    assert_int_equal(verdict_on(&wire, wire.size, false, UINT64_MAX), 0);
    buf_free(&wire);
}

static void a_message_in_one_piece_is_not_copied(void **state)
{
    (void)state;
    uint8_t wire[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    struct message_reader r;
    struct message m;
    message_reader_init(&r, true, LIMIT);
    assert_int_equal(message_read(&r, wire, 11, &m), 11);
    assert_ptr_equal(m.at, wire + 6);
    assert_null(r.body.at);
    message_reader_free(&r);
}

static void a_payload_in_one_piece_behind_its_head_is_not_copied(void **state)
{
    (void)state;
    uint8_t wire[] = "\x81\x05Hello";
    struct message_reader r;
    struct message m;
    message_reader_init(&r, false, LIMIT);
    assert_int_equal(message_read(&r, wire, 2, &m), 2);
    assert_int_equal(m.kind, MESSAGE_NONE);
    assert_int_equal(message_read(&r, wire + 2, 5, &m), 5);
    assert_ptr_equal(m.at, wire + 2);
    assert_null(r.body.at);
    message_reader_free(&r);
}

static void the_body_is_gone_once_its_message_is_done(void **state)
{
    (void)state;
    uint8_t wire[] = "\x81\x05Hello\x81\x02ok";
    struct message_reader r;
    struct message m;
    message_reader_init(&r, false, LIMIT);
    assert_int_equal(message_read(&r, wire, 4, &m), 4);
    assert_non_null(r.body.at);
    assert_int_equal(message_read(&r, wire + 4, 7, &m), 3);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.at, "Hello", 5);
    assert_int_equal(message_read(&r, wire + 7, 4, &m), 4);
    assert_null(r.body.at);
    message_reader_free(&r);
}

static void a_half_read_message_is_freed(void **state)
{
    (void)state;
    uint8_t wire[] = "\x01\x05Hello";
    struct message_reader r;
    struct message m;
    message_reader_init(&r, false, LIMIT);
    assert_int_equal(message_read(&r, wire, 7, &m), 7);
    message_reader_free(&r);
    assert_null(r.body.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc),
        cmocka_unit_test(empty_frames_are_messages),
        cmocka_unit_test(several_messages_keep_their_order),
        cmocka_unit_test(control_frames_may_come_between_fragments),
        cmocka_unit_test(close_may_come_between_fragments),
        cmocka_unit_test(everything_after_a_close_is_swallowed),
        cmocka_unit_test(every_form_of_length_is_read),
        cmocka_unit_test(each_reserved_bit_fails),
        cmocka_unit_test(bad_frames_fail),
        cmocka_unit_test(the_largest_control_frame_passes),
        cmocka_unit_test(fragments_out_of_order_fail),
        cmocka_unit_test(the_mask_belongs_to_the_role),
        cmocka_unit_test(close_payloads),
        cmocka_unit_test(close_codes_as_registered),
        cmocka_unit_test(text_is_checked_across_fragments),
        cmocka_unit_test(bad_text_fails_before_its_frame_ends),
        cmocka_unit_test(the_limit_is_met_by_the_announced_length),
        cmocka_unit_test(the_limit_is_met_by_the_sum_of_fragments),
        cmocka_unit_test(huge_announcements_do_not_overflow),
        cmocka_unit_test(a_message_in_one_piece_is_not_copied),
        cmocka_unit_test(a_payload_in_one_piece_behind_its_head_is_not_copied),
        cmocka_unit_test(the_body_is_gone_once_its_message_is_done),
        cmocka_unit_test(a_half_read_message_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
