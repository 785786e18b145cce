#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

/* From the authors' reference code: state 1, 2, 3, 4. */
static void sequence_is_xoshiro256starstar(void **state)
{
    (void)state;
    struct rng r = {{1, 2, 3, 4}};
    const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240, 1216172134540287360};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_true(rng_next(&r) == expected[i]);
}

/* splitmix64 from 0, its published first outputs. */
static void seed_is_spread_by_splitmix64(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 0);
    assert_true(r.state[0] == 0xe220a8397b1dcdaf);
    assert_true(r.state[1] == 0x6e789e6aa1b965f4);
    assert_true(r.state[2] == 0x06c45d188009454f);
    assert_true(r.state[3] == 0xf88bb8a8724c81ec);
}

static void same_seed_same_sequence(void **state)
{
    (void)state;
    struct rng a, b, other;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    rng_seed(&other, 43);
    int differ = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = rng_next(&a);
        assert_true(value == rng_next(&b));
        differ += value != rng_next(&other);
    }
    assert_true(differ > 90);
}

static void unit_is_uniform_below_one(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3);
    double sum = 0;
    int tenth[10] = {0};
    for (int i = 0; i < 100000; i++) {
        double value = rng_unit(&r);
        assert_true(value >= 0 && value < 1);
        sum += value;
        tenth[(int)(value * 10)]++;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005);
    for (int i = 0; i < 10; i++)
        assert_in_range(tenth[i], 9500, 10500);
}

static void unit_takes_the_extremes(void **state)
{
    (void)state;
    struct rng zero = {{1, 0, 3, 4}};
    assert_true(rng_unit(&zero) == 0.0);
    struct rng r;
    rng_seed(&r, 4);
    for (int i = 0; i < 1000; i++)
        assert_true(isfinite(rng_exponential(&r, 1)) && rng_exponential(&r, 1) >= 0);
}

static void exponential_has_its_mean_and_tail(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    double sum = 0;
    int beyond = 0;
    for (int i = 0; i < 100000; i++) {
        double value = rng_exponential(&r, 20);
        sum += value;
        beyond += value > 40;
    }
    assert_true(fabs(sum / 100000 - 20) < 0.3);
    assert_true(fabs(beyond / 100000.0 - exp(-2)) < 0.005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_is_xoshiro256starstar), cmocka_unit_test(seed_is_spread_by_splitmix64),
        cmocka_unit_test(same_seed_same_sequence),        cmocka_unit_test(unit_is_uniform_below_one),
        cmocka_unit_test(unit_takes_the_extremes),        cmocka_unit_test(exponential_has_its_mean_and_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
