/* The mark is strict and in bytes; above it the policy decides. */
#include "hub/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void exactly_the_mark_still_fits(void **state)
{
    (void)state;
    const struct policy p = {.mark = 100, .on_overflow = OVERFLOW_CLOSE};
    assert_false(policy_over(&p, 60, 40));
    assert_true(policy_over(&p, 60, 41));
    assert_true(policy_over(&p, 61, 40));
    assert_false(policy_over(&p, 0, 100));
    assert_true(policy_over(&p, 0, 101));
    assert_false(policy_over(&p, 100, 0));
    assert_true(policy_over(&p, 101, 0));
}

static void without_a_mark_everything_fits(void **state)
{
    (void)state;
    const struct policy p = {.mark = 0, .on_overflow = OVERFLOW_CLOSE};
    assert_false(policy_over(&p, UINT64_MAX, UINT64_MAX));
    assert_int_equal(policy_decide(&p, UINT64_MAX, 1), VERDICT_QUEUE);
}

static void sums_beyond_64_bits_are_over(void **state)
{
    (void)state;
    const struct policy p = {.mark = UINT64_MAX, .on_overflow = OVERFLOW_CLOSE};
    assert_true(policy_over(&p, UINT64_MAX, 1));
    assert_true(policy_over(&p, 1, UINT64_MAX));
    assert_false(policy_over(&p, UINT64_MAX - 1, 1));
}

static void above_the_mark_each_policy_has_its_verdict(void **state)
{
    (void)state;
    const enum verdict expected[] = {
        [OVERFLOW_NONE] = VERDICT_QUEUE,
        [OVERFLOW_CLOSE] = VERDICT_EVICT,
        [OVERFLOW_DROP_NEWEST] = VERDICT_DROP_NEWEST,
        [OVERFLOW_DROP_OLDEST] = VERDICT_MAKE_ROOM,
        [OVERFLOW_CONFLATE] = VERDICT_CONFLATE,
    };
    for (int i = OVERFLOW_NONE; i <= OVERFLOW_CONFLATE; i++) {
        const struct policy p = {.mark = 10, .on_overflow = (enum overflow)i};
        assert_int_equal(policy_decide(&p, 10, 1), expected[i]);
        assert_int_equal(policy_decide(&p, 9, 1), VERDICT_QUEUE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_mark_still_fits),
        cmocka_unit_test(without_a_mark_everything_fits),
        cmocka_unit_test(sums_beyond_64_bits_are_over),
        cmocka_unit_test(above_the_mark_each_policy_has_its_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
