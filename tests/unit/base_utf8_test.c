#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

struct text {
    const char *at;
    size_t size;
};

static const struct text good[] = {
    BYTES(""),
    BYTES("\0"),
    BYTES("plain ASCII text, longer than one word"),
    BYTES("\x7F"),
    BYTES("\xC2\x80"),
    BYTES("\xDF\xBF"),
    BYTES("\xE0\xA0\x80"),
    BYTES("\xEC\xBF\xBF"),
    BYTES("\xED\x80\x80"),
    BYTES("\xED\x9F\xBF"),
    BYTES("\xEE\x80\x80"),
    BYTES("\xEF\xBF\xBF"),
    BYTES("\xF0\x90\x80\x80"),
    BYTES("\xF3\xBF\xBF\xBF"),
    BYTES("\xF4\x80\x80\x80"),
    BYTES("\xF4\x8F\xBF\xBF"),
    BYTES("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"),
    BYTES("1234567\xC3\xA9"
          "12345678\xE2\x82\xAC"
          "123456789\xF0\x9F\x98\x80"
          "tail"),
};

/* `size` counts up to and with the byte that makes it hopeless. */
static const struct text bad[] = {
    BYTES("\x80"),
    BYTES("\xBF"),
    BYTES("\xC0"),
    BYTES("\xC1"),
    BYTES("\xC2\x7F"),
    BYTES("\xC2\xC0"),
    BYTES("\xDF\x00"),
    BYTES("\xE0\x9F"),
    BYTES("\xE0\xA0\x7F"),
    BYTES("\xE1\x80\xC0"),
    BYTES("\xED\xA0"),
    BYTES("\xED\xBF"),
    BYTES("\xEF\xBF\x41"),
    BYTES("\xF0\x8F"),
    BYTES("\xF0\x90\x80\x7F"),
    BYTES("\xF1\x7F"),
    BYTES("\xF4\x90"),
    BYTES("\xF5"),
    BYTES("\xF8"),
    BYTES("\xFC"),
    BYTES("\xFE"),
    BYTES("\xFF"),
    BYTES("12345678\x80"),
    BYTES("1234567890123456789\xFF"),
    BYTES("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0"),
};

static uint8_t check(struct text t)
{
    return utf8_check(UTF8_START, (const uint8_t *)t.at, t.size);
}

static uint8_t check_cut(struct text t, size_t cut)
{
    uint8_t state = utf8_check(UTF8_START, (const uint8_t *)t.at, cut);
    return utf8_check(state, (const uint8_t *)t.at + cut, t.size - cut);
}

static void good_text_ends_at_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        for (size_t cut = 0; cut <= good[i].size; cut++)
            assert_int_equal(check_cut(good[i], cut), UTF8_START);
}

static void bad_text_fails_at_the_first_hopeless_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        for (size_t cut = 0; cut <= bad[i].size; cut++)
            assert_int_equal(check_cut(bad[i], cut), UTF8_INVALID);
        assert_int_not_equal(check((struct text){bad[i].at, bad[i].size - 1}), UTF8_INVALID);
    }
}

static void invalid_stays_invalid(void **state)
{
    (void)state;
    assert_int_equal(utf8_check(UTF8_INVALID, (const uint8_t *)"ok", 2), UTF8_INVALID);
    assert_int_equal(utf8_check(UTF8_INVALID, (const uint8_t *)"", 0), UTF8_INVALID);
    assert_int_equal(check((struct text)BYTES("\xFFgood again, for eight bytes")), UTF8_INVALID);
}

static void unfinished_text_is_neither(void **state)
{
    (void)state;
    static const struct text cut[] = {BYTES("\xC2"), BYTES("\xE0"), BYTES("\xE2\x82"), BYTES("\xF0\x9F\x98")};
    for (size_t i = 0; i < COUNT_OF(cut); i++) {
        assert_int_not_equal(check(cut[i]), UTF8_START);
        assert_int_not_equal(check(cut[i]), UTF8_INVALID);
    }
}

/* Table 3-7 of the Unicode standard, said with arithmetic instead of tables. */
static bool decodes(const uint8_t *b, size_t size)
{
    uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = size == 2 ? b[0] & 0x1F : size == 3 ? b[0] & 0xF : b[0] & 0x7;
    uint8_t lead = size == 2 ? 0xC0 : size == 3 ? 0xE0 : 0xF0;
    uint8_t lead_mask = size == 2 ? 0xE0 : size == 3 ? 0xF0 : 0xF8;
    if ((b[0] & lead_mask) != lead)
        return false;
    for (size_t i = 1; i < size; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return false;
        code = code << 6 | (b[i] & 0x3F);
    }
    return code >= least[size] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

static void every_pair_of_bytes_agrees_with_decoding(void **state)
{
    (void)state;
    for (unsigned first = 0x80; first < 0x100; first++)
        for (unsigned second = 0; second < 0x100; second++) {
            uint8_t two[] = {(uint8_t)first, (uint8_t)second};
            assert_int_equal(utf8_check(UTF8_START, two, 2) == UTF8_START, decodes(two, 2));
        }
}

static void longer_sequences_agree_with_decoding(void **state)
{
    (void)state;
    static const uint8_t last[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    for (unsigned first = 0xE0; first < 0x100; first++)
        for (unsigned second = 0; second < 0x100; second++)
            for (size_t i = 0; i < COUNT_OF(last); i++) {
                size_t size = first < 0xF0 ? 3 : 4;
                uint8_t text[] = {(uint8_t)first, (uint8_t)second, 0x80, 0x80};
                text[size - 1] = last[i];
                assert_int_equal(utf8_check(UTF8_START, text, size) == UTF8_START, decodes(text, size));
            }
}

/* The fast path reads eight bytes: a stray one must be found at each place of each word. */
static void a_stray_byte_is_found_anywhere(void **state)
{
    (void)state;
    uint8_t text[40];
    for (size_t size = 1; size <= sizeof text; size++)
        for (size_t at = 0; at < size; at++) {
            memset(text, 'a', sizeof text);
            text[at] = 0x80;
            assert_int_equal(utf8_check(UTF8_START, text, size), UTF8_INVALID);
            assert_int_equal(utf8_check(UTF8_START, text, at), UTF8_START);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text_ends_at_start),
        cmocka_unit_test(bad_text_fails_at_the_first_hopeless_byte),
        cmocka_unit_test(invalid_stays_invalid),
        cmocka_unit_test(unfinished_text_is_neither),
        cmocka_unit_test(every_pair_of_bytes_agrees_with_decoding),
        cmocka_unit_test(longer_sequences_agree_with_decoding),
        cmocka_unit_test(a_stray_byte_is_found_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
