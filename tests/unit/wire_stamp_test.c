#include "wire/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct stamp example = {0xdeadbeef, 0x0123456789abcdef, 0xfedcba9876543210};
static const char example_text[] = "wsb1 deadbeef 0123456789abcdef fedcba9876543210 ";

static void is_written_as_text(void **state)
{
    (void)state;
    uint8_t at[STAMP_SIZE];
    assert_int_equal(sizeof example_text - 1, STAMP_SIZE);
    stamp_write(&example, at, sizeof at);
    assert_memory_equal(at, example_text, STAMP_SIZE);
}

static void check_round_trip(struct stamp stamp, size_t size)
{
    uint8_t *at = malloc(size); /* exactly: the sanitizer sees a byte too many */
    struct stamp back;
    stamp_write(&stamp, at, size);
    assert_true(stamp_read(at, size, &back));
    assert_int_equal(back.publisher, stamp.publisher);
    assert_int_equal(back.sequence, stamp.sequence);
    assert_int_equal(back.intended_ns, stamp.intended_ns);
    assert_true(stamp_intact(&back, at, size));
    free(at);
}

static void is_read_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {STAMP_SIZE, STAMP_SIZE + 1, STAMP_SIZE + 2, 1000, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_round_trip(example, sizes[i]);
        check_round_trip((struct stamp){0, 0, 0}, sizes[i]);
        check_round_trip((struct stamp){UINT32_MAX, UINT64_MAX, UINT64_MAX}, sizes[i]);
    }
}

static void every_byte_of_it_matters(void **state)
{
    (void)state;
    for (size_t i = 0; i < STAMP_SIZE; i++) {
        static const char wrong[] = "gG/:@`\x00\xff";
        for (size_t k = 0; k < sizeof wrong - 1; k++) {
            uint8_t at[STAMP_SIZE];
            struct stamp stamp = {1, 2, 3};
            stamp_write(&example, at, sizeof at);
            at[i] = (uint8_t)wrong[k];
            assert_false(stamp_read(at, sizeof at, &stamp));
            assert_int_equal(stamp.sequence, 2);
        }
    }
}

static void upper_case_is_none_of_ours(void **state)
{
    (void)state;
    struct stamp stamp;
    assert_false(
        stamp_read((const uint8_t *)"wsb1 DEADBEEF 0123456789abcdef fedcba9876543210 ", STAMP_SIZE, &stamp));
}

static void less_than_a_stamp_is_none(void **state)
{
    (void)state;
    struct stamp stamp;
    for (size_t size = 0; size < STAMP_SIZE; size++) {
        uint8_t *at = malloc(size + 1);
        memcpy(at, example_text, size);
        assert_false(stamp_read(at, size, &stamp));
        free(at);
    }
    assert_true(stamp_read((const uint8_t *)example_text, STAMP_SIZE, &stamp));
}

static void any_changed_byte_of_the_fill_is_seen(void **state)
{
    (void)state;
    uint8_t at[STAMP_SIZE + 20];
    for (uint64_t sequence = 0; sequence < 30; sequence++) {
        struct stamp stamp = {1, sequence, 2};
        for (size_t i = STAMP_SIZE; i < sizeof at; i++) {
            stamp_write(&stamp, at, sizeof at);
            at[i] ^= 1;
            assert_false(stamp_intact(&stamp, at, sizeof at));
        }
    }
}

static void the_fill_belongs_to_the_sequence_number(void **state)
{
    (void)state;
    uint8_t at[STAMP_SIZE + 1];
    struct stamp stamp = {1, 7, 2};
    stamp_write(&stamp, at, sizeof at);
    stamp.sequence = 8;
    assert_false(stamp_intact(&stamp, at, sizeof at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_written_as_text),
        cmocka_unit_test(is_read_back),
        cmocka_unit_test(every_byte_of_it_matters),
        cmocka_unit_test(upper_case_is_none_of_ours),
        cmocka_unit_test(less_than_a_stamp_is_none),
        cmocka_unit_test(any_changed_byte_of_the_fill_is_seen),
        cmocka_unit_test(the_fill_belongs_to_the_sequence_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
