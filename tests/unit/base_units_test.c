#include "base/err.h"
#include "base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static void good_text_has_its_value(void **state)
{
    (void)state;
    static const struct {
        enum unit_kind kind;
        const char *text;
        double value;
    } good[] = {
        {UNIT_COUNT, "0", 0},
        {UNIT_COUNT, "500", 500},
        {UNIT_COUNT, "007", 7},
        {UNIT_COUNT, "10k", 10000},
        {UNIT_COUNT, "1.5k", 1500},
        {UNIT_COUNT, "1.001k", 1001},
        {UNIT_COUNT, "2M", 2e6},
        {UNIT_COUNT, "9007199254740992", 0x1p53},
        {UNIT_SIZE, "0", 0},
        {UNIT_SIZE, "4096", 4096},
        {UNIT_SIZE, "1B", 1},
        {UNIT_SIZE, "64KiB", 65536},
        {UNIT_SIZE, "64kB", 64000},
        {UNIT_SIZE, "1MiB", 1048576},
        {UNIT_SIZE, "1.5MiB", 1572864},
        {UNIT_SIZE, "3MB", 3e6},
        {UNIT_SIZE, "2GiB", 2147483648.0},
        {UNIT_SIZE, "2GB", 2e9},
        {UNIT_DURATION, "0", 0},
        {UNIT_DURATION, "0.0", 0},
        {UNIT_DURATION, "7ns", 7},
        {UNIT_DURATION, "10us", 1e4},
        {UNIT_DURATION, "250ms", 250e6},
        {UNIT_DURATION, "0.3ms", 300000},
        {UNIT_DURATION, "2s", 2e9},
        {UNIT_DURATION, "1.5m", 90e9},
        {UNIT_DURATION, "1h", 3600e9},
        {UNIT_RATE, "0", 0},
        {UNIT_RATE, "200", 200},
        {UNIT_RATE, "200/s", 200},
        {UNIT_RATE, "0.5/s", 0.5},
        {UNIT_RATE, "30/m", 0.5},
        {UNIT_RATE, "3600/h", 1},
        {UNIT_RATE, "10k/s", 10000},
        {UNIT_RATE, "10k", 10000},
        {UNIT_BYTE_RATE, "0", 0},
        {UNIT_BYTE_RATE, "4096/s", 4096},
        {UNIT_BYTE_RATE, "64KiB/s", 65536},
        {UNIT_BYTE_RATE, "60kB/m", 1000},
        {UNIT_RATIO, "0", 0},
        {UNIT_RATIO, "0%", 0},
        {UNIT_RATIO, "1.6", 1.6},
        {UNIT_RATIO, "50%", 0.5},
        {UNIT_RATIO, "12.5%", 0.125},
        {UNIT_RATIO, "60%", 0.6},
        {UNIT_RATIO, "100%", 1},
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        double value = -1;
        int err = units_parse(good[i].kind, good[i].text, &value);
        if (err != 0 || value != good[i].value)
            fail_msg("kind %d \"%s\": err %d, value %.17g", (int)good[i].kind, good[i].text, err, value);
    }
}

static const char *const never_good[] = {
    "",    " ",          " 1",    "1 ",   "-1",    "+1",    "-0",   ".5",    "1.",    "1..2",     "1.2.3",
    "1,5", "1e3",        "1E3",   "0x10", "0x1p3", "inf",   "nan",  "INF",   "k",     "KiB",      "s",
    "/s",  "1\n",        "1kk",   "1K",   "1KB",   "1kib",  "1KIB", "1Kib",  "1b",    "1 KiB",    "1mb",
    "1/",  "1//s",       "1/ s",  "1/x",  "1/s/s", "1s/s",  "1S",   "1sec",  "1 s",   "1msx",     "1Ms",
    "1d",  "1\xC2\xB5s", "1kk/s", "1/ms", "9e99",  "1KiBs", "ten",  "1_000", "1'000", "\xD9\xA1",
};

static void bad_text_is_refused_for_every_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < UNIT_KINDS; kind++)
        for (size_t i = 0; i < COUNT_OF(never_good); i++) {
            double value = 42;
            if (units_parse((enum unit_kind)kind, never_good[i], &value) != ERR_OPTION_VALUE || value != 42)
                fail_msg("kind %d took \"%s\" as %.17g", kind, never_good[i], value);
        }
}

static void units_of_another_kind_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum unit_kind kind;
        const char *text;
    } bad[] = {
        {UNIT_COUNT, "1.5"},   {UNIT_COUNT, "1.0001k"},   {UNIT_COUNT, "1KiB"},     {UNIT_COUNT, "1/s"},
        {UNIT_COUNT, "1s"},    {UNIT_SIZE, "1k"},         {UNIT_SIZE, "1M"},        {UNIT_SIZE, "1KiB/s"},
        {UNIT_SIZE, "1s"},     {UNIT_DURATION, "1"},      {UNIT_DURATION, "250"},   {UNIT_DURATION, "1k"},
        {UNIT_DURATION, "1B"}, {UNIT_RATE, "1KiB/s"},     {UNIT_RATE, "1B"},        {UNIT_RATE, "1s"},
        {UNIT_BYTE_RATE, "1"}, {UNIT_BYTE_RATE, "64KiB"}, {UNIT_BYTE_RATE, "1k/s"}, {UNIT_BYTE_RATE, "1s"},
        {UNIT_RATIO, "1k"},    {UNIT_RATIO, "50%/s"},     {UNIT_RATIO, "5%%"},      {UNIT_RATIO, "1s"},
        {UNIT_COUNT, "50%"},   {UNIT_RATE, "50%"},        {UNIT_DURATION, "50%"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        double value;
        if (units_parse(bad[i].kind, bad[i].text, &value) != ERR_OPTION_VALUE)
            fail_msg("kind %d took \"%s\"", (int)bad[i].kind, bad[i].text);
    }
}

static void values_above_2_to_the_53_are_refused(void **state)
{
    (void)state;
    char many[400];
    memset(many, '9', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    double value = 42;
    assert_int_equal(units_parse(UNIT_COUNT, "9007199254740993", &value), ERR_OPTION_VALUE);
    assert_int_equal(units_parse(UNIT_SIZE, "8388609GiB", &value), ERR_OPTION_VALUE);
    assert_int_equal(units_parse(UNIT_DURATION, "2503h", &value), ERR_OPTION_VALUE);
    assert_int_equal(units_parse(UNIT_COUNT, many, &value), ERR_OPTION_VALUE);
    assert_true(value == 42);
    assert_int_equal(units_parse(UNIT_SIZE, "8388608GiB", &value), 0);
    assert_true(value == 0x1p53);
}

static void text_is_short_with_three_digits(void **state)
{
    (void)state;
    static const struct {
        enum unit_kind kind;
        double value;
        const char *text;
    } rows[] = {
        {UNIT_COUNT, 0, "0"},
        {UNIT_COUNT, 500, "500"},
        {UNIT_COUNT, 999, "999"},
        {UNIT_COUNT, 12345, "12.3k"},
        {UNIT_COUNT, 1e6, "1M"},
        {UNIT_COUNT, 123456789, "123M"},
        {UNIT_COUNT, -1500, "-1.5k"},
        {UNIT_SIZE, 0, "0 B"},
        {UNIT_SIZE, 1023, "1023 B"},
        {UNIT_SIZE, 65536, "64 KiB"},
        {UNIT_SIZE, 262144, "256 KiB"},
        {UNIT_SIZE, 1572864, "1.5 MiB"},
        {UNIT_SIZE, 1048575, "1 MiB"},
        {UNIT_SIZE, 0x1p40, "1024 GiB"},
        {UNIT_DURATION, 0, "0 ns"},
        {UNIT_DURATION, 12.3e6, "12.3 ms"},
        {UNIT_DURATION, 999.6e6, "1 s"},
        {UNIT_DURATION, 999.4e6, "999 ms"},
        {UNIT_DURATION, 59.9e9, "59.9 s"},
        {UNIT_DURATION, 59.99e9, "1 m"},
        {UNIT_DURATION, 90e9, "1.5 m"},
        {UNIT_DURATION, 9.999e3, "10 us"},
        {UNIT_DURATION, 1.005e3, "1 us"},
        {UNIT_RATE, 200, "200/s"},
        {UNIT_RATE, 0.5, "0.5/s"},
        {UNIT_RATE, 2500, "2.5k/s"},
        {UNIT_BYTE_RATE, 65536, "64 KiB/s"},
        {UNIT_RATIO, 1.6, "1.6"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[32];
        assert_ptr_equal(units_format(rows[i].kind, rows[i].value, text, sizeof text), text);
        assert_string_equal(text, rows[i].text);
    }
}

static void text_stays_within_its_room(void **state)
{
    (void)state;
    char text[8] = "xxxxxxx";
    units_format(UNIT_SIZE, 123456, text, 4);
    assert_string_equal(text, "121");
    assert_int_equal(text[4], 'x');
    units_format(UNIT_SIZE, INFINITY, text, sizeof text);
    assert_string_equal(text, "inf GiB");
}

static void every_kind_says_what_it_takes(void **state)
{
    (void)state;
    assert_string_equal(units_accepted(UNIT_SIZE), "a size in bytes, such as 64KiB");
    for (int kind = 0; kind < UNIT_KINDS; kind++) {
        double value;
        const char *example = strstr(units_accepted((enum unit_kind)kind), "such as ");
        assert_non_null(example);
        char word[16] = "";
        example += strlen("such as ");
        strncat(word, example, strcspn(example, " "));
        assert_int_equal(units_parse((enum unit_kind)kind, word, &value), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text_has_its_value),
        cmocka_unit_test(bad_text_is_refused_for_every_kind),
        cmocka_unit_test(units_of_another_kind_are_refused),
        cmocka_unit_test(values_above_2_to_the_53_are_refused),
        cmocka_unit_test(text_is_short_with_three_digits),
        cmocka_unit_test(text_stays_within_its_room),
        cmocka_unit_test(every_kind_says_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
