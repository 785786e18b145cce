/* A rate with a burst of one second's worth. */
#include "base/clock.h"
#include "base/meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint64_t start_ns = 1000 * NS_PER_S;

static void no_rate_is_no_limit(void **state)
{
    (void)state;
    struct meter m = {0};
    assert_true(meter_take(&m, 0, 1e300, start_ns));
    assert_true(m.paid_until_ns == 0);
}

static void a_second_s_worth_passes_at_once_and_no_more(void **state)
{
    (void)state;
    struct meter m = {0};
    for (int i = 0; i < 10; i++)
        assert_true(meter_take(&m, 10, 1, start_ns));
    assert_false(meter_take(&m, 10, 1, start_ns));
}

static void what_keeps_to_the_rate_passes_for_ever(void **state)
{
    (void)state;
    struct meter m = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(meter_take(&m, 10, 1, start_ns + (uint64_t)i * NS_PER_S / 10));
}

static void silence_saves_up_no_more_than_a_burst(void **state)
{
    (void)state;
    struct meter m = {0};
    assert_true(meter_take(&m, 10, 1, start_ns));
    assert_true(meter_take(&m, 10, 10, 2 * start_ns));
    assert_false(meter_take(&m, 10, 1, 2 * start_ns));
}

static void an_absurd_amount_does_not_wrap_around(void **state)
{
    (void)state;
    struct meter m = {0};
    assert_false(meter_take(&m, 1e-9, 1e300, start_ns));
    assert_false(meter_take(&m, 1, 1, start_ns));
}

static void who_waits_as_long_as_told_keeps_to_the_rate(void **state)
{
    (void)state;
    struct meter m = {0};
    uint64_t now_ns = start_ns;
    for (int i = 0; i < 100; i++) {
        now_ns += meter_wait_ns(&m, 50, NS_PER_S / 10, now_ns);
        assert_int_equal(meter_wait_ns(&m, 50, NS_PER_S / 10, now_ns), 0);
        meter_take(&m, 50, 1, now_ns);
    }
    assert_int_equal((now_ns - start_ns) / NS_PER_MS, 1900); /* 95 after the burst of 5 */
}

static void one_passes_however_small_the_burst(void **state)
{
    (void)state;
    struct meter m = {0};
    assert_int_equal(meter_wait_ns(&m, 1, 0, start_ns), 0);
    meter_take(&m, 1, 1, start_ns);
    assert_int_equal(meter_wait_ns(&m, 1, 0, start_ns), NS_PER_S);
    assert_int_equal(meter_wait_ns(&m, 1, 0, start_ns + NS_PER_S), 0);
    assert_int_equal(meter_wait_ns(&m, 0, 0, start_ns), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rate_is_no_limit),
        cmocka_unit_test(a_second_s_worth_passes_at_once_and_no_more),
        cmocka_unit_test(what_keeps_to_the_rate_passes_for_ever),
        cmocka_unit_test(silence_saves_up_no_more_than_a_burst),
        cmocka_unit_test(an_absurd_amount_does_not_wrap_around),
        cmocka_unit_test(who_waits_as_long_as_told_keeps_to_the_rate),
        cmocka_unit_test(one_passes_however_small_the_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
