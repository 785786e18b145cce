#include "base/hist.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 20000 };
#define TOP_NS ((UINT64_C(1) << HIST_TOP_BITS) - 1)

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Each percentile, in thousandths, against the value at the nearest rank of the sorted array: never below it
 * and at most one step above. */
static void check_against_sorted(const struct hist *h, uint64_t *values, uint64_t count)
{
    qsort(values, count, sizeof *values, by_value);
    for (uint64_t thousandths = 0; thousandths <= 100000; thousandths += 50) {
        uint64_t rank = (thousandths * count + 99999) / 100000;
        uint64_t exact = values[rank ? rank - 1 : 0];
        uint64_t read = hist_percentile(h, (double)thousandths / 1000, 0);
        assert_true(read >= exact);
        assert_true(read - exact <= exact / HIST_STEPS);
    }
    assert_true(hist_percentile(h, 100, 0) == values[count - 1]);
}

static void check_spread(uint64_t (*draw)(struct rng *))
{
    static struct hist h;
    static uint64_t values[SAMPLES];
    struct rng r;
    rng_seed(&r, 1);
    memset(&h, 0, sizeof h);
    uint64_t sum = 0;
    for (int i = 0; i < SAMPLES; i++) {
        values[i] = draw(&r);
        sum += values[i];
        hist_record(&h, values[i]);
    }
    assert_int_equal(h.count, SAMPLES);
    assert_true(h.sum_ns == sum);
    check_against_sorted(&h, values, SAMPLES);
}

static uint64_t draw_small(struct rng *r)
{
    return rng_next(r) % 300;
}

static uint64_t draw_latency(struct rng *r)
{
    return (uint64_t)rng_exponential(r, 3e6);
}

static uint64_t draw_any_size(struct rng *r)
{
    return rng_next(r) >> (22 + rng_next(r) % 42);
}

static void small_values_match_sorted(void **state)
{
    (void)state;
    check_spread(draw_small);
}

static void latencies_match_sorted(void **state)
{
    (void)state;
    check_spread(draw_latency);
}

static void any_magnitude_matches_sorted(void **state)
{
    (void)state;
    check_spread(draw_any_size);
}

static void edges_of_buckets_are_consistent(void **state)
{
    (void)state;
    for (int bits = 0; bits < HIST_TOP_BITS; bits++)
        for (int step = -1; step <= 1; step++) {
            struct hist h = {0};
            uint64_t value = (UINT64_C(1) << bits) + (uint64_t)step;
            hist_record(&h, value);
            hist_record(&h, TOP_NS); /* so that max_ns does not hide the edge */
            uint64_t read = hist_percentile(&h, 50, 0);
            assert_true(read >= value && read - value <= value / HIST_STEPS);
        }
}

static void values_below_two_rounds_of_steps_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 2 * HIST_STEPS; value++) {
        struct hist h = {0};
        hist_record(&h, value);
        hist_record(&h, TOP_NS);
        assert_int_equal(hist_percentile(&h, 50, 0), value);
    }
}

static void longer_than_the_top_counts_as_the_top(void **state)
{
    (void)state;
    struct hist h = {0};
    hist_record(&h, UINT64_MAX);
    hist_record(&h, TOP_NS + 1);
    assert_int_equal(h.bucket[HIST_BUCKETS - 1], 2);
    assert_true(hist_percentile(&h, 100, 0) == TOP_NS);
    assert_true(h.sum_ns == 2 * TOP_NS);
}

static void empty_reads_zero(void **state)
{
    (void)state;
    struct hist h = {0};
    assert_int_equal(hist_percentile(&h, 0, 0), 0);
    assert_int_equal(hist_percentile(&h, 99, 0), 0);
}

static void one_value_is_every_percentile(void **state)
{
    (void)state;
    struct hist h = {0};
    hist_record(&h, 123456789);
    assert_int_equal(hist_percentile(&h, 0, 0), 123456789);
    assert_int_equal(hist_percentile(&h, 50, 0), 123456789);
    assert_int_equal(hist_percentile(&h, 100, 0), 123456789);
}

/* 9.8 % of 3000 is rank 294, but 9.8 * 3000 / 100 is a little more in doubles. */
static void whole_ranks_do_not_slip_by_rounding(void **state)
{
    (void)state;
    struct hist h = {0};
    for (int i = 0; i < 3000; i++)
        hist_record(&h, i < 294 ? 1 : 100);
    assert_int_equal(hist_percentile(&h, 9.8, 0), 1);
    assert_int_equal(hist_percentile(&h, 9.81, 0), 100);
}

static void missing_values_are_infinitely_late(void **state)
{
    (void)state;
    struct hist h = {0};
    for (int i = 0; i < 90; i++)
        hist_record(&h, 5);
    assert_int_equal(hist_percentile(&h, 90, 10), 5);
    assert_true(hist_percentile(&h, 90.5, 10) == UINT64_MAX);
    assert_true(hist_percentile(&h, 100, 1) == UINT64_MAX);
    assert_int_equal(hist_percentile(&h, 100, 0), 5);
    struct hist none = {0};
    assert_true(hist_percentile(&none, 50, 1) == UINT64_MAX);
}

static void merge_equals_recording_both(void **state)
{
    (void)state;
    static struct hist left, right, both;
    struct rng r;
    rng_seed(&r, 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = draw_latency(&r);
        hist_record(i % 3 ? &left : &right, value);
        hist_record(&both, value);
    }
    hist_merge(&left, &right);
    assert_memory_equal(&left, &both, sizeof both);
}

static void subtract_leaves_what_came_since(void **state)
{
    (void)state;
    static struct hist now, earlier, since;
    hist_record(&now, 9000000);
    hist_record(&now, 10);
    earlier = now;
    hist_record(&now, 1000);
    hist_record(&now, 2000);
    hist_record(&since, 1000);
    hist_record(&since, 2000);
    hist_subtract(&now, &earlier);
    assert_int_equal(now.count, 2);
    assert_int_equal(now.sum_ns, 3000);
    assert_memory_equal(now.bucket, since.bucket, sizeof since.bucket);
    assert_true(now.max_ns >= 2000 && now.max_ns <= 2000 + 2000 / HIST_STEPS);
}

static void subtract_keeps_a_maximum_that_is_new(void **state)
{
    (void)state;
    static struct hist now, earlier;
    hist_record(&now, 10);
    earlier = now;
    hist_record(&now, 1000);
    hist_subtract(&now, &earlier);
    assert_int_equal(now.max_ns, 1000);
    earlier = now;
    hist_subtract(&now, &earlier);
    assert_int_equal(now.max_ns, 0);
    assert_int_equal(hist_percentile(&now, 50, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_match_sorted),
        cmocka_unit_test(latencies_match_sorted),
        cmocka_unit_test(any_magnitude_matches_sorted),
        cmocka_unit_test(edges_of_buckets_are_consistent),
        cmocka_unit_test(values_below_two_rounds_of_steps_are_exact),
        cmocka_unit_test(longer_than_the_top_counts_as_the_top),
        cmocka_unit_test(empty_reads_zero),
        cmocka_unit_test(one_value_is_every_percentile),
        cmocka_unit_test(whole_ranks_do_not_slip_by_rounding),
        cmocka_unit_test(missing_values_are_infinitely_late),
        cmocka_unit_test(merge_equals_recording_both),
        cmocka_unit_test(subtract_leaves_what_came_since),
        cmocka_unit_test(subtract_keeps_a_maximum_that_is_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
