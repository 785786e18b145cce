#include "role/sequence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(struct sequence *s, uint64_t number, enum arrival arrival, uint64_t skipped)
{
    uint64_t got = 99;
    assert_int_equal(sequence_note(s, number, &got), arrival);
    assert_int_equal(got, skipped);
}

static void in_order(void **state)
{
    (void)state;
    struct sequence s = {0};
    for (uint64_t i = 0; i < 200; i++)
        check(&s, i, ARRIVAL_IN_ORDER, 0);
}

static void the_first_may_be_any(void **state)
{
    (void)state;
    struct sequence s = {0};
    check(&s, 1000, ARRIVAL_IN_ORDER, 0);
    check(&s, 1001, ARRIVAL_IN_ORDER, 0);
    check(&s, 999, ARRIVAL_DUPLICATE, 0);
}

static void gaps_are_counted(void **state)
{
    (void)state;
    struct sequence s = {0};
    check(&s, 5, ARRIVAL_IN_ORDER, 0);
    check(&s, 7, ARRIVAL_AFTER_GAP, 1);
    check(&s, 107, ARRIVAL_AFTER_GAP, 99);
    check(&s, 108, ARRIVAL_IN_ORDER, 0);
    check(&s, UINT64_C(1) << 40, ARRIVAL_AFTER_GAP, (UINT64_C(1) << 40) - 109);
}

static void late_ones_fill_a_gap_once(void **state)
{
    (void)state;
    struct sequence s = {0};
    check(&s, 0, ARRIVAL_IN_ORDER, 0);
    check(&s, 4, ARRIVAL_AFTER_GAP, 3);
    check(&s, 2, ARRIVAL_LATE, 0);
    check(&s, 2, ARRIVAL_DUPLICATE, 0);
    check(&s, 1, ARRIVAL_LATE, 0);
    check(&s, 3, ARRIVAL_LATE, 0);
    check(&s, 3, ARRIVAL_DUPLICATE, 0);
    check(&s, 5, ARRIVAL_IN_ORDER, 0);
}

static void what_was_seen_is_a_duplicate(void **state)
{
    (void)state;
    struct sequence s = {0};
    for (uint64_t i = 0; i < 100; i++)
        check(&s, i, ARRIVAL_IN_ORDER, 0);
    for (uint64_t i = 0; i < 100; i++)
        check(&s, i, ARRIVAL_DUPLICATE, 0);
}

static void it_remembers_the_last_64(void **state)
{
    (void)state;
    struct sequence s = {0};
    check(&s, 0, ARRIVAL_IN_ORDER, 0);
    check(&s, 100, ARRIVAL_AFTER_GAP, 99);
    check(&s, 37, ARRIVAL_LATE, 0);
    check(&s, 36, ARRIVAL_DUPLICATE, 0);
    check(&s, 99, ARRIVAL_LATE, 0);
}

static void a_gap_at_the_edge_of_the_memory(void **state)
{
    (void)state;
    for (uint64_t jump = 62; jump <= 66; jump++) {
        struct sequence s = {0};
        check(&s, 10, ARRIVAL_IN_ORDER, 0);
        check(&s, 10 + jump, ARRIVAL_AFTER_GAP, jump - 1);
        check(&s, 10, ARRIVAL_DUPLICATE, 0);
        check(&s, 10 + jump - 1, ARRIVAL_LATE, 0);
        check(&s, 10 + jump, ARRIVAL_DUPLICATE, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(the_first_may_be_any),
        cmocka_unit_test(gaps_are_counted),
        cmocka_unit_test(late_ones_fill_a_gap_once),
        cmocka_unit_test(what_was_seen_is_a_duplicate),
        cmocka_unit_test(it_remembers_the_last_64),
        cmocka_unit_test(a_gap_at_the_edge_of_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
